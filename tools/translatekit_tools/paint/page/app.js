// The page: which of its two modes is shown, what they share, and the keyboard.

import { Painting } from "./painting.js";
import { Photos } from "./photos.js";

const $ = (id) => document.getElementById(id);
const MODES = ["paint", "photo"];
const TOAST = 7000; // milliseconds

/** What both modes may use of the page. */
const ui = {
  busy() {
    $("status").dataset.state = "busy";
  },
  idle() {
    if ($("status").dataset.state === "busy") $("status").dataset.state = "idle";
  },
  done(latency, modelTime, rate = null) {
    $("status").dataset.state = "idle";
    $("latency").textContent = `${Math.round(latency)} ms${rate ? ` · ${rate.toFixed(1)} fps` : ""}`;
    $("status").title = modelTime === null ? "" : `${Math.round(modelTime)} ms of it in the model`;
    $("toast").hidden = true;
  },
  fail(error) {
    $("status").dataset.state = "error";
    const toast = $("toast");
    toast.textContent = error.message[0].toUpperCase() + error.message.slice(1);
    toast.hidden = false;
    clearTimeout(ui.timer);
    ui.timer = setTimeout(() => (toast.hidden = true), TOAST);
  },
  chooseFile(use) {
    const input = $("file");
    input.value = "";
    input.onchange = () => input.files[0] && use(input.files[0]);
    input.click();
  },
  /** Open a menu above or below the button it belongs to. */
  popover(menu, button) {
    if (menu.matches(":popover-open")) return menu.hidePopover();
    menu.showPopover();
    const [box, own] = [button.getBoundingClientRect(), menu.getBoundingClientRect()];
    const below = box.bottom + 8 + own.height < innerHeight;
    const top = below ? box.bottom + 8 : box.top - 8 - own.height;
    const left = Math.min(Math.max(8, box.left), innerWidth - own.width - 8);
    Object.assign(menu.style, { top: `${Math.max(8, top)}px`, left: `${left}px` });
  },
};

let modes = null;
let mode = null;

function show(name) {
  if (mode) modes[mode].stop();
  mode = name;
  for (const other of MODES) {
    $(other).hidden = other !== name;
    $(`tab-${other}`).setAttribute("aria-selected", String(other === name));
    $(`tab-${other}`).tabIndex = other === name ? 0 : -1;
  }
  modes[name].start();
}

function listen() {
  for (const name of MODES) $(`tab-${name}`).addEventListener("click", () => modes[name] && show(name));
  document.querySelector(".tabs").addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    const other = MODES.find((name) => name !== mode);
    if (!other || $(`tab-${other}`).disabled) return;
    show(other);
    $(`tab-${other}`).focus();
  });
  for (const name of ["help", "about"]) {
    $(`${name}-button`).addEventListener("click", () => $(name).showModal());
    $(name).addEventListener("click", (event) => event.target === $(name) && $(name).close());
  }
  $("save").addEventListener("click", () => ui.popover($("save-menu"), $("save")));

  addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || event.isComposing) return;
    const typing = event.target.matches("select, textarea, input:not([type=range])");
    const scrolling = event.target.matches("input[type=range]") && /^(Arrow|Home|End|Page)/.test(event.key);
    const pressing = event.target.matches("button") && [" ", "Enter"].includes(event.key);
    if (typing || scrolling || pressing) return;
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (plain && event.key === "?") $("help").showModal();
    else if (plain && event.key.toLowerCase() === "v" && !$("tab-paint").disabled) show(MODES.find((name) => name !== mode));
    else if (!modes[mode].key(event)) return;
    event.preventDefault();
  });

  let depth = 0; // of elements that a dragged file has entered and not left
  const hasFile = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => hasFile(event) && depth++ === 0 && document.body.classList.add("dragging"));
  addEventListener("dragleave", (event) => hasFile(event) && --depth === 0 && document.body.classList.remove("dragging"));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    document.body.classList.remove("dragging");
    const file = event.dataTransfer.files[0];
    if (file) modes[mode].open(file);
  });
  addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
    if (file) modes[mode].open(file);
  });
}

/** Models of several directions are switched by opening the page for another; each keeps its own drawing. */
function offerDirections(model) {
  const select = $("direction");
  for (const name of model.directions) select.add(new Option(name.replace(/^(.)to(.)$/, "$1 → $2"), name, false, name === model.direction));
  $("directions").hidden = model.directions.length < 2;
  select.addEventListener("change", () => {
    const address = new URL(location.href);
    address.searchParams.set("direction", select.value);
    location.assign(address);
  });
}

/** What the model is, as the dialog of that says it. */
function tellAbout({ about }) {
  $("about-title").textContent = about.title;
  $("about-text").textContent = about.text;
  $("about-text").hidden = !about.text;
  for (const [term, text] of about.facts) {
    const row = document.createElement("div");
    for (const [tag, words] of [["dt", term], ["dd", text]]) row.append(Object.assign(document.createElement(tag), { textContent: words }));
    $("about-facts").append(row);
  }
}

/**
 * Begin.
 * @param transport what runs the model: see server.js
 */
export async function start(transport) {
  transport.onProgress = (text) => ($("latency").textContent = text);
  try {
    const model = await transport.describe();
    $("brand").textContent = model.heading;
    $("model-name").textContent = $("model-name").title = model.subtitle;
    document.title = model.title;
    tellAbout(model);
    modes = { photo: new Photos(model, transport, ui), ...(model.draw && { paint: new Painting(model, transport, ui) }) };
    offerDirections(model);
    if (model.examples?.length === 0) for (const id of ["example", "photo-example"]) $(id).hidden = true;
    if (!model.draw) {
      $("tab-paint").disabled = true;
      document.querySelector(".tabs").style.visibility = "hidden";
    }
    listen();
    show(model.mode);
    document.body.dataset.ready = "";
  } catch (error) {
    ui.fail(error);
    clearTimeout(ui.timer); // nothing else will ever be shown
  }
}
