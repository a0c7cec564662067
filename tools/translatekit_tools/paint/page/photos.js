// Pictures and the webcam: before on the left of the seam, after on its right.

import { download, toBlob } from "./blobs.js";
import { Live, wait } from "./live.js";

const $ = (id) => document.getElementById(id);
const UNKNOWN = /\.(tiff?|npy|npz|dcm|dicom|nii|nii\.gz|exr|hdr|jp2|j2k|pgm|ppm|pnm|dng|nef|cr2|arw)$/i; // to browsers
const SIDES = [128, 256, 384, 512, 768, 1024, 1536, 2048];

export class Photos {
  #source = null; // the picture at its full size
  #stream = null;
  #frames = []; // when the last frames of the webcam were shown
  #example = -1; // the number of the one that was shown last

  constructor(model, transport, ui) {
    this.model = model;
    this.transport = transport;
    this.ui = ui;
    this.before = $("before");
    this.after = $("after");
    this.video = $("video");
    this.client = new Live(transport, {
      onStart: () => ui.busy(),
      onIdle: () => ui.idle(),
      onError: (error) => {
        this.#stopWebcam();
        ui.fail(error);
      },
      onResult: (result) => this.#show(result),
    });
    this.files = transport.files(model, {
      onStart: () => ui.busy(),
      onIdle: () => ui.idle(),
      onError: (error) => ui.fail(error),
      onSide: (side, bitmap) => this.#showSide(side, bitmap),
      onResult: ({ latency }) => {
        this.after.dataset.count = Number(this.after.dataset.count ?? 0) + 1;
        $("photo-save").disabled = false;
        ui.done(latency, null);
      },
    });
    if (!model.browser) {
      $("webcam").hidden = true;
      $("photo-size").closest("label").hidden = true;
      $("drop-words").textContent = `Drop a file here: ${model.input.text}`;
      $("file").accept = "";
    }
    const sides = [...new Set([...SIDES, model.size])].filter((side) => side * side <= model.limits.pixels).sort((a, b) => a - b);
    for (const side of sides) {
      const note = side === model.size ? " (model)" : "";
      $("photo-size").add(new Option(`${side} px${note}`, side, false, side === model.size));
    }
    $("photo-size").addEventListener("change", () => this.#source && this.#translatePicture());
    $("photo-open").addEventListener("click", () => ui.chooseFile((file) => this.open(file)));
    $("choose").addEventListener("click", () => ui.chooseFile((file) => this.open(file)));
    $("photo-save").addEventListener("click", () => this.save());
    $("photo-example").addEventListener("click", () => this.example());
    $("webcam").addEventListener("click", () => (this.#stream ? this.#stopWebcam() : this.#startWebcam()));
    $("split").addEventListener("input", (event) => $("compare").style.setProperty("--split", `${event.target.value}%`));
  }

  /** Called when the page comes to the front: there is something to see from the first moment on. */
  start() {
    if (this.#example < 0 && !this.#source && !this.files?.isOpen) this.example(true);
  }

  /** Show the next picture of the data. */
  async example(quiet = false) {
    try {
      this.#example += 1;
      if (!this.model.browser) {
        if (!(await this.files.example(this.#example)) && !quiet) throw new Error("the images that this model was trained on are not on this machine: open a file of your own");
        return;
      }
      const blob = await this.transport.example({ number: this.#example });
      if (quiet && (this.#source || this.#stream)) return; // the reader was quicker
      if (blob) await this.open(blob);
      else if (!quiet) throw new Error("the pictures that this model was trained on are not on this machine: open one of your own");
    } catch (error) {
      this.ui.fail(error);
    }
  }

  stop() {
    this.#stopWebcam();
    this.client.stop();
  }

  key(event) {
    const key = event.key.toLowerCase();
    const action = event.ctrlKey || event.metaKey ? { s: () => this.save() }[key] : { o: () => $("photo-open").click(), x: () => this.example(), w: () => $("webcam").click() }[key];
    action?.();
    return Boolean(action);
  }

  async open(file) {
    this.#stopWebcam();
    if (this.files && (!this.model.browser || UNKNOWN.test(file.name ?? ""))) {
      this.#source = null;
      await this.files.open(file);
      return;
    }
    this.files?.close();
    try {
      this.#source = await createImageBitmap(file, { imageOrientation: "from-image" });
    } catch {
      this.ui.fail(new Error(`this browser cannot show ${file.name || "the file"} as a picture: convert it to PNG or JPEG`));
      return;
    }
    this.#translatePicture();
  }

  async save() {
    if (this.files?.isOpen) await this.files.save();
    else if (!$("photo-save").disabled) download(await toBlob(this.after), `${this.model.name}.png`);
  }

  #translatePicture() {
    const { width, height } = this.#source;
    this.#draw(this.#source, width, height, this.before);
    this.#fit();
    this.client.request(this.before, { urgent: true });
  }

  /** Draw a picture no larger than was chosen. */
  #draw(source, width, height, canvas) {
    const scale = Math.min(1, Number($("photo-size").value) / Math.max(width, height));
    const size = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(source, 0, 0, ...size);
  }

  /** A side that the server has drawn. */
  #showSide(side, bitmap) {
    const canvas = this[side];
    [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    this.#fit();
  }

  #fit() {
    delete $("viewer").dataset.empty;
    $("compare").style.setProperty("--ratio", this.before.width / this.before.height);
  }

  #show({ bitmap, latency, modelTime, tag }) {
    if (tag) {
      // The frame that was translated, not the one that the camera shows by now.
      [this.before.width, this.before.height] = [tag.width, tag.height];
      this.before.getContext("2d").drawImage(tag, 0, 0);
      this.#fit();
    }
    [this.after.width, this.after.height] = [bitmap.width, bitmap.height];
    this.after.getContext("2d").drawImage(bitmap, 0, 0);
    this.after.dataset.count = Number(this.after.dataset.count ?? 0) + 1;
    $("photo-save").disabled = false;
    this.ui.done(latency, modelTime, this.#stream ? this.#rate() : null);
    if (this.#stream) this.#nextFrame();
  }

  // The webcam: the next frame is taken when the one before has come back

  async #startWebcam() {
    if (!navigator.mediaDevices?.getUserMedia) {
      this.ui.fail(new Error("browsers give the webcam only to pages of this machine or over https: open the page on the machine itself"));
      return;
    }
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
    } catch (error) {
      this.ui.fail(new Error(`the webcam cannot be used (${error.message || error.name}): allow it in the browser, and close what else uses it`));
      return;
    }
    this.files?.close();
    this.#source = null; // another size would show it among the frames
    this.video.srcObject = this.#stream;
    this.#frames = [];
    this.#mark();
    await this.video.play();
    while (this.#stream && !this.video.videoWidth) await wait(20);
    this.#nextFrame();
  }

  #stopWebcam() {
    if (!this.#stream) return;
    for (const track of this.#stream.getTracks()) track.stop();
    this.#stream = null;
    this.video.srcObject = null;
    this.client.stop();
    this.#mark();
  }

  #mark() {
    $("webcam").setAttribute("aria-pressed", String(Boolean(this.#stream)));
    $("webcam").querySelector("span").textContent = this.#stream ? "Stop" : "Webcam";
  }

  #nextFrame() {
    if (!this.#stream) return;
    const frame = document.createElement("canvas");
    this.#draw(this.video, this.video.videoWidth, this.video.videoHeight, frame);
    this.client.request(frame, { lossy: true, tag: frame });
  }

  #rate() {
    const now = performance.now();
    this.#frames = [...this.#frames.filter((time) => now - time < 2000), now];
    const span = now - this.#frames[0];
    return span ? (1000 * (this.#frames.length - 1)) / span : 0;
  }
}
