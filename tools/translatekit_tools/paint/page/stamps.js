// Ready-made blocks, in the colours of the palette's classes of these names.

const WORDS = {
  window: ["window", "windows", "glass", "pane", "fenster"],
  sill: ["sill", "cornice", "ledge", "trim", "molding", "moulding"],
  door: ["door", "doors", "entrance", "gate", "gateway"],
  step: ["step", "steps", "stairs"],
  road: ["road", "street", "roads", "asphalt", "lane", "path", "highway"],
  marking: ["marking", "markings", "lanemarking", "lanemarkings"],
  tree: ["tree", "trees", "vegetation", "plants", "plant", "foliage", "bush", "forest", "greenery"],
  trunk: ["trunk", "wood", "bark", "stem"],
};

/** Classes by role: the first of the palette that has one of the role's words in its name. */
function findClasses(palette) {
  const found = {};
  for (const [role, words] of Object.entries(WORDS)) {
    const match = palette.find(({ name }) => name.toLowerCase().split(/[^a-z]+/).some((word) => words.includes(word)));
    if (match) found[role] = match.packed;
  }
  return found;
}

/** A box's own coordinates, from 0 to 1 each way. */
function within(raster, { x0, y0, x1, y1 }) {
  const x = (value) => x0 + value * (x1 - x0);
  const y = (value) => y0 + value * (y1 - y0);
  return {
    rectangle: (a, b, c, d, color) => raster.rectangle(x(a), y(b), x(c), y(d), color),
    ellipse: (a, b, c, d, color) => raster.ellipse(x(a), y(b), x(c), y(d), color),
    polygon: (points, color) => raster.polygon(points.map(([a, b]) => [x(a), y(b)]), color),
  };
}

const NAMED = [
  {
    role: "window", label: "Window", aspect: 0.7,
    draw(pen, { window, sill }) {
      pen.rectangle(0.06, 0, 0.94, sill === undefined ? 1 : 0.9, window);
      if (sill !== undefined) pen.rectangle(0, 0.9, 1, 1, sill);
    },
  },
  {
    role: "door", label: "Door", aspect: 0.55,
    draw(pen, { door, step }) {
      pen.rectangle(0.06, 0, 0.94, step === undefined ? 1 : 0.94, door);
      if (step !== undefined) pen.rectangle(0, 0.94, 1, 1, step);
    },
  },
  {
    role: "road", label: "Road", aspect: 1.3,
    draw(pen, { road, marking }) {
      pen.polygon([[0.42, 0], [0.58, 0], [1, 1], [0, 1]], road);
      if (marking === undefined) return;
      for (const [top, bottom] of [[0.12, 0.22], [0.34, 0.5], [0.66, 0.9]]) {
        const half = (y) => 0.008 + 0.022 * y;
        pen.polygon(
          [[0.5 - half(top), top], [0.5 + half(top), top], [0.5 + half(bottom), bottom], [0.5 - half(bottom), bottom]],
          marking,
        );
      }
    },
  },
  {
    role: "tree", label: "Tree", aspect: 0.75,
    draw(pen, { tree, trunk = tree }) {
      pen.rectangle(0.44, 0.55, 0.56, 1, trunk);
      for (const box of [[0.18, 0, 0.82, 0.5], [0, 0.22, 0.58, 0.68], [0.42, 0.22, 1, 0.68]]) pen.ellipse(...box, tree);
    },
  },
];

const GENERIC = [
  { label: "Block", aspect: 1, draw: (pen, { current }) => pen.rectangle(0, 0, 1, 1, current) },
  {
    label: "Frame", aspect: 1,
    draw(pen, { current }) {
      for (const side of [[0, 0, 1, 0.16], [0, 0.84, 1, 1], [0, 0, 0.16, 1], [0.84, 0, 1, 1]]) pen.rectangle(...side, current);
    },
  },
  { label: "Disc", aspect: 1, draw: (pen, { current }) => pen.ellipse(0, 0, 1, 1, current) },
  { label: "Gable", aspect: 1.8, draw: (pen, { current }) => pen.polygon([[0.5, 0], [1, 1], [0, 1]], current) },
  {
    label: "Grid", aspect: 1.2,
    draw(pen, { current }) {
      for (const x of [0, 0.37, 0.74]) for (const y of [0, 0.56]) pen.rectangle(x, y, x + 0.26, y + 0.44, current);
    },
  },
];

/** A random drawing of a palette's classes, where there is no data to take one from. */
export function compose(raster, palette, background) {
  const pick = (from, to) => from + Math.random() * (to - from);
  const others = palette.map(({ packed }) => packed).filter((packed) => packed !== background);
  const color = () => others[Math.floor(Math.random() * others.length)] ?? background;
  const { width, height } = raster;
  raster.pixels.fill(background);
  raster.rectangle(0, pick(0.6, 0.85) * height, width, height, color());
  raster.rectangle(pick(0.05, 0.25) * width, pick(0.15, 0.35) * height, pick(0.7, 0.95) * width, pick(0.8, 0.95) * height, color());
  for (const stamp of [...makeStamps(palette)].sort(() => Math.random() - 0.5).slice(0, 3)) {
    const inside = color();
    const tall = pick(0.12, 0.22) * height;
    const rows = Math.ceil(pick(0, 2));
    for (let row = 0; row < rows; row++) {
      const top = (0.3 + 0.25 * row) * height;
      for (const x of [0.32, 0.5, 0.68]) {
        const half = Math.min(0.08 * width, (tall * stamp.aspect) / 2);
        stamp.draw(raster, { x0: x * width - half, y0: top, x1: x * width + half, y1: top + tall }, inside);
      }
    }
  }
}

/** The stamps for a palette: {label, aspect, draw(raster, box, current colour)}; those of unknown classes left out. */
export function makeStamps(palette) {
  const classes = findClasses(palette);
  const known = NAMED.filter(({ role }) => role in classes);
  return [...known, ...GENERIC].map(({ label, aspect, draw, role }) => ({
    label,
    aspect,
    coloured: role !== undefined,
    draw: (raster, box, current) => draw(within(raster, box), { ...classes, current }),
  }));
}
