// Pixels with hard edges: what is drawn holds the palette's colours and nothing between them.

/** sRGB levels as one 32-bit number in the order of a canvas's memory (every browser's machine is little-endian). */
export function pack([red, green, blue]) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** The levels of a packed colour. */
export function unpack(color) {
  return [color & 255, (color >> 8) & 255, (color >> 16) & 255];
}

export class Raster {
  /** An opaque image of one packed colour. */
  constructor(width, height, color) {
    this.width = width;
    this.height = height;
    this.image = new ImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.pixels.fill(color);
  }

  copy() {
    return this.pixels.slice();
  }

  restore(pixels) {
    this.pixels.set(pixels);
  }

  equals(pixels) {
    return this.pixels.every((value, index) => value === pixels[index]);
  }

  at(x, y) {
    const [column, row] = [Math.floor(x), Math.floor(y)];
    const inside = column >= 0 && row >= 0 && column < this.width && row < this.height;
    return inside ? this.pixels[row * this.width + column] : null;
  }

  /** Colour the pixels in a box whose centres are inside of a shape. */
  #paint(left, top, right, bottom, color, inside) {
    const [x0, x1] = [Math.max(0, Math.floor(left)), Math.min(this.width, Math.ceil(right))];
    const [y0, y1] = [Math.max(0, Math.floor(top)), Math.min(this.height, Math.ceil(bottom))];
    for (let y = y0; y < y1; y++) {
      for (let x = x0; x < x1; x++) {
        if (inside(x + 0.5, y + 0.5)) this.pixels[y * this.width + x] = color;
      }
    }
  }

  /** A round brush of a diameter, drawn along a line; at least the pixels under the line's ends. */
  stroke(x0, y0, x1, y1, diameter, color) {
    const radius = diameter / 2;
    const [dx, dy] = [x1 - x0, y1 - y0];
    const squared = dx * dx + dy * dy;
    const box = [Math.min(x0, x1) - radius, Math.min(y0, y1) - radius];
    this.#paint(...box, Math.max(x0, x1) + radius, Math.max(y0, y1) + radius, color, (x, y) => {
      const along = squared ? Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / squared)) : 0;
      const [ox, oy] = [x - x0 - along * dx, y - y0 - along * dy];
      return ox * ox + oy * oy <= radius * radius;
    });
    for (const [x, y] of [[x0, y0], [x1, y1]]) {
      this.#paint(Math.floor(x), Math.floor(y), Math.floor(x) + 1, Math.floor(y) + 1, color, () => true);
    }
  }

  rectangle(x0, y0, x1, y1, color) {
    const [left, right] = [Math.min(x0, x1), Math.max(x0, x1)];
    const [top, bottom] = [Math.min(y0, y1), Math.max(y0, y1)];
    this.#paint(Math.round(left), Math.round(top), Math.round(right), Math.round(bottom), color, () => true);
  }

  ellipse(x0, y0, x1, y1, color) {
    const [cx, cy, rx, ry] = [(x0 + x1) / 2, (y0 + y1) / 2, Math.abs(x1 - x0) / 2, Math.abs(y1 - y0) / 2];
    this.#paint(cx - rx, cy - ry, cx + rx, cy + ry, color, (x, y) => ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1);
  }

  /** The inside of a closed line through points [x, y], by the even-odd rule. */
  polygon(points, color) {
    const xs = points.map(([x]) => x);
    const ys = points.map(([, y]) => y);
    this.#paint(Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys), color, (x, y) => {
      let inside = false;
      points.forEach(([ax, ay], index) => {
        const [bx, by] = points[(index + 1) % points.length];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
      });
      return inside;
    });
  }

  /** Recolour the area of one colour, connected by sides, that a point lies in. */
  fill(x, y, color) {
    const old = this.at(x, y);
    if (old === null || old === color) return;
    const { width, height, pixels } = this;
    const todo = [Math.floor(y) * width + Math.floor(x)];
    while (todo.length) {
      const index = todo.pop();
      if (pixels[index] !== old) continue;
      const row = Math.floor(index / width) * width;
      let [left, right] = [index, index];
      while (left > row && pixels[left - 1] === old) left--;
      while (right < row + width - 1 && pixels[right + 1] === old) right++;
      pixels.fill(color, left, right + 1);
      for (const next of [row - width, row + width]) {
        if (next < 0 || next >= width * height) continue;
        const shift = next - row;
        for (let i = left; i <= right; i++) {
          if (pixels[i + shift] === old && (i === left || pixels[i + shift - 1] !== old)) todo.push(i + shift);
        }
      }
    }
  }

  /** Give each pixel the nearest of some packed colours. */
  snap(colors) {
    const levels = colors.map(unpack);
    const nearest = new Map();
    for (let index = 0; index < this.pixels.length; index++) {
      const color = this.pixels[index];
      if (!nearest.has(color)) {
        const own = unpack(color);
        const distances = levels.map((other) => other.reduce((sum, value, i) => sum + (value - own[i]) ** 2, 0));
        nearest.set(color, colors[distances.indexOf(Math.min(...distances))]);
      }
      this.pixels[index] = nearest.get(color);
    }
  }
}

/** What was drawn, to go back and forth in; the oldest is forgotten beyond a number of bytes. */
export class History {
  constructor(raster, bytes = 96e6) {
    this.raster = raster;
    this.limit = Math.max(2, Math.floor(bytes / raster.pixels.byteLength));
    this.states = [raster.copy()];
    this.position = 0;
  }

  get canUndo() {
    return this.position > 0;
  }

  get canRedo() {
    return this.position < this.states.length - 1;
  }

  /** Keep the raster as it is now; false where nothing has changed. */
  commit() {
    if (this.raster.equals(this.states[this.position])) return false;
    this.states.splice(this.position + 1, Infinity, this.raster.copy());
    if (this.states.length > this.limit) this.states.shift();
    this.position = this.states.length - 1;
    return true;
  }

  /** Forget what was drawn since the last commit. */
  revert() {
    this.raster.restore(this.states[this.position]);
  }

  go(steps) {
    const position = this.position + steps;
    if (position < 0 || position >= this.states.length) return false;
    this.position = position;
    this.revert();
    return true;
  }
}
