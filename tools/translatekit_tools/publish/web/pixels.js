// From the pixels of a canvas to the array that the model takes, and back: what translatekit does around any model.

/** Where the values of a longer axis come from that reflects the shorter one at its ends, and how many come before. */
export function reflect(length, amount) {
  const before = Math.floor(amount / 2);
  const period = Math.max(1, 2 * (length - 1));
  const places = new Uint32Array(length + amount);
  for (let index = 0; index < places.length; index++) {
    const place = (((index - before) % period) + period) % period;
    places[index] = Math.min(place, length === 1 ? 0 : period - place);
  }
  return { places, before };
}

/** Luma of ITU-R BT.601 in fixed point, as Pillow computes it. */
const luma = (red, green, blue) => (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16;

/** The class whose colour is nearest. */
function nearestClass(colors) {
  const known = new Map();
  return (red, green, blue) => {
    const key = (red << 16) | (green << 8) | blue;
    if (!known.has(key)) {
      const distances = colors.map(({ color: [r, g, b] }) => (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2);
      known.set(key, colors[distances.indexOf(Math.min(...distances))].id);
    }
    return known.get(key);
  };
}

/**
 * What the model takes of a picture: uint8 of (height, width, channels), whose sides are multiples of what the network
 * needs, and where the picture lies in it.
 * @param image an ImageData
 * @param input what the model takes: its channels, and of class numbers their colours
 * @param multiple that both sides must be of, in pixels
 */
export function fit({ data, width, height }, input, multiple) {
  const [down, across] = [height, width].map((side) => reflect(side, (multiple - (side % multiple)) % multiple));
  const size = { height: down.places.length, width: across.places.length };
  const channels = input.colors ? 1 : input.channels;
  const pixels = new Uint8Array(size.height * size.width * channels);
  const single = input.colors ? nearestClass(input.colors) : luma;
  let to = 0;
  for (const row of down.places) {
    for (const column of across.places) {
      const from = 4 * (row * width + column);
      if (channels === 1) pixels[to++] = single(data[from], data[from + 1], data[from + 2]);
      else for (let channel = 0; channel < 3; channel++) pixels[to++] = data[from + channel];
    }
  }
  return { pixels, ...size, top: down.before, left: across.before };
}

/**
 * The picture's part of what the model has given, as transparent as the picture was.
 * @param pixels uint8 of (height, width, channels), as the model gave them
 * @param fitted as `fit` has given it
 * @param image the picture
 * @param output what the model gives, as the input
 */
export function restore(pixels, fitted, image, output) {
  const { width, height } = image;
  const channels = output.colors ? 1 : output.channels;
  const result = new ImageData(width, height);
  const colors = output.colors && new Map(output.colors.map(({ id, color }) => [id, color]));
  let to = 0;
  for (let row = 0; row < height; row++) {
    let from = channels * ((row + fitted.top) * fitted.width + fitted.left);
    for (let column = 0; column < width; column++, from += channels, to += 4) {
      const color = colors ? (colors.get(pixels[from]) ?? [0, 0, 0]) : null;
      for (let channel = 0; channel < 3; channel++) {
        result.data[to + channel] = color ? color[channel] : pixels[from + (channels === 1 ? 0 : channel)];
      }
      result.data[to + 3] = image.data[to + 3];
    }
  }
  return result;
}
