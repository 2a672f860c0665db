// The photo on a canvas of the screen's size: where it lies, and its layers as pictures no larger than needed.

import * as api from "./api.js";

const WHOLE = 2048; // px of the longer side in which a layer is had as a whole
const LARGEST = 2560;
const SETTLED = 120; // ms without a move after which sharper parts are asked for
const MOST = 32; // screen px of a photo's pixel

// One layer: the whole, and above it the visible part where the whole is not sharp enough.
class Layer {
  constructor(name) {
    this.name = name;
    this.clear();
  }
  clear() {
    this.asking?.abort();
    this.key = null; // of the state that is shown
    this.wanted = null; // what is asked for
    this.had = null; // what of that has come
    this.parts = [];
  }
  draw(context, view, clearing = false) {
    context.imageSmoothingEnabled = view.scale * devicePixelRatio < 3;
    for (const { image, box } of this.parts) {
      const [x, y, width, height] = [box[0], box[1], box[2] - box[0], box[3] - box[1]];
      if (clearing) context.clearRect(x, y, width, height);
      context.drawImage(image, x, y, width, height);
    }
  }
}

export class View {
  // `stage` holds the canvases; `onchange` is called when zoom or place change, `onproblem` with errors.
  constructor(stage, onchange, onproblem) {
    this.stage = stage;
    this.onchange = onchange;
    this.onproblem = onproblem;
    this.canvases = Object.fromEntries(["picture", "mask", "guide"].map((id) => [id, document.getElementById(id)]));
    this.layers = Object.fromEntries(["photo", "result", "mask", "fakeness"].map((name) => [name, new Layer(name)]));
    this.scale = 1;
    this.x = this.y = 0; // where the photo's corner lies, in CSS px of the stage
    this.split = null; // 0-1 of the stage's width: left of it is shown what was before
    this.before = false; // while a key is held
    this.doubt = false;
    this.strokes = []; // painted here, and not in the mask layer yet
    this.guide = () => {};
    this.size = [1, 1];
    new ResizeObserver(() => this.resized()).observe(stage);
  }

  // Show photo `number`; its state follows with `update`.
  open(number, state) {
    for (const layer of Object.values(this.layers)) layer.clear();
    this.number = number;
    this.strokes = [];
    this.size = [state.width, state.height];
    this.state = state;
    this.showAll();
  }

  update(state) {
    this.state = state;
    if (!state.picture.length) {
      this.layers.result.clear();
      this.layers.fakeness.clear();
    }
    this.refresh();
  }

  resized() {
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
    for (const canvas of Object.values(this.canvases)) {
      canvas.width = Math.round(width * devicePixelRatio);
      canvas.height = Math.round(height * devicePixelRatio);
    }
    if (this.fitted) this.showAll();
    else this.moved();
  }

  get fitting() {
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
    return Math.min((width - 24) / this.size[0], (height - 24) / this.size[1], MOST);
  }

  showAll() {
    this.scale = Math.max(this.fitting, 1e-3);
    this.x = (this.stage.clientWidth - this.size[0] * this.scale) / 2;
    this.y = (this.stage.clientHeight - this.size[1] * this.scale) / 2;
    this.moved();
    this.fitted = true;
  }

  zoom(factor, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const scale = Math.min(Math.max(this.scale * factor, Math.min(this.fitting / 2, 1)), MOST);
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.moved();
  }

  move(right, down) {
    this.x += right;
    this.y += down;
    this.moved();
  }

  moved() {
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
    const keep = 60; // px of the photo that stay in sight
    this.x = Math.min(Math.max(this.x, keep - this.size[0] * this.scale), width - keep);
    this.y = Math.min(Math.max(this.y, keep - this.size[1] * this.scale), height - keep);
    this.fitted = false;
    this.onchange();
    this.draw();
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.refresh(), SETTLED);
  }

  // A place on the stage, in CSS px, as pixels of the photo.
  place(x, y) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  // Ask for what is not there, or not sharp, of the layers that are shown.
  refresh() {
    if (this.number === undefined || !this.stage.clientWidth) return;
    const { picture, revision } = this.state;
    if (!picture.length || this.split !== null || this.before) this.want("photo", "photo");
    if (picture.length) this.want("result", `result ${picture}`);
    if (picture.length && this.doubt) this.want("fakeness", `fakeness ${picture}`);
    this.want("mask", `mask ${revision}`);
  }

  want(name, state) {
    const layer = this.layers[name];
    const whole = [0, 0, ...this.size];
    const sharp = Math.min(1, WHOLE / Math.max(...this.size));
    const wanted = [{ box: whole, longest: Math.min(WHOLE, Math.max(...this.size)) }];
    if (name !== "fakeness" && sharp < 1 && this.scale * devicePixelRatio > sharp * 1.05) {
      const box = this.visible();
      const side = Math.max(box[2] - box[0], box[3] - box[1]);
      if (side > 0) wanted.push({ box, longest: Math.max(1, Math.min(LARGEST, side, Math.ceil(side * this.scale * devicePixelRatio))) });
    }
    const key = JSON.stringify([state, wanted]);
    if (layer.wanted === key) return;
    layer.wanted = key;
    layer.asking?.abort();
    layer.asking = new AbortController();
    this.showLoading();
    const known = layer.key === state ? layer.parts : [];
    const number = this.number;
    const parts = wanted.map(async ({ box, longest }) => {
      const had = known.find((part) => `${part.box}` === `${box}` && part.longest === longest);
      return had ?? { box, longest, image: await api.view(number, name, box, longest, layer.asking.signal) };
    });
    Promise.all(parts).then(
      (loaded) => {
        if (layer.wanted !== key || number !== this.number) return;
        layer.parts = loaded;
        layer.key = state;
        layer.had = key;
        if (name === "mask") {
          const revision = Number(state.split(" ")[1]);
          this.strokes = this.strokes.filter((one) => !(one.revision <= revision));
        }
        this.showLoading();
        this.draw();
      },
      (problem) => {
        if (problem.name === "AbortError" || layer.wanted !== key) return;
        layer.wanted = layer.had = null;
        this.showLoading();
        this.onproblem(problem);
      },
    );
  }

  showLoading() {
    const loading = Object.values(this.layers).some((layer) => layer.wanted !== layer.had);
    this.stage.classList.toggle("loading", loading);
  }

  // The visible part of the photo and a little more, as whole pixels.
  visible() {
    const margin = 0.08;
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
    const [left, top] = this.place(-margin * width, -margin * height);
    const [right, bottom] = this.place((1 + margin) * width, (1 + margin) * height);
    return [
      Math.max(0, Math.floor(left)), Math.max(0, Math.floor(top)),
      Math.min(this.size[0], Math.ceil(right)), Math.min(this.size[1], Math.ceil(bottom)),
    ];
  }

  draw() {
    if (this.drawing || this.number === undefined) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      this.drawPicture(this.context("picture"));
      this.drawMask(this.context("mask"));
      const guide = this.context("guide");
      guide.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
      this.guide(guide);
    });
  }

  context(name) {
    const context = this.canvases[name].getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    const scale = this.scale * devicePixelRatio;
    context.setTransform(scale, 0, 0, scale, this.x * devicePixelRatio, this.y * devicePixelRatio);
    return context;
  }

  drawPicture(context) {
    const filled = this.state.picture.length && this.layers.result.parts.length;
    (filled && !this.before ? this.layers.result : this.layers.photo).draw(context, this);
    if (filled && this.split !== null && !this.before) {
      const edge = this.place(this.split * this.stage.clientWidth, 0)[0];
      context.save();
      context.beginPath();
      context.rect(0, 0, Math.min(Math.max(edge, 0), this.size[0]), this.size[1]);
      context.clip();
      this.layers.photo.draw(context, this);
      context.restore();
    }
    if (filled && this.doubt && !this.before) this.layers.fakeness.draw(context, this);
  }

  drawMask(context) {
    this.layers.mask.draw(context, this, true);
    context.save();
    context.beginPath();
    context.rect(0, 0, ...this.size);
    context.clip();
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = context.fillStyle = "#ff2d87";
    for (const paint of this.strokes) {
      context.globalCompositeOperation = paint.erase ? "destination-out" : "source-over";
      context.beginPath();
      if (paint.kind === "box") {
        const [left, top, right, bottom] = paint.box;
        context.rect(left, top, right - left, bottom - top);
      } else if (paint.kind === "clear") {
        context.clearRect(0, 0, ...this.size);
      } else {
        paint.points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
        if (paint.points.length === 1) context.lineTo(...paint.points[0]);
      }
      if (paint.kind === "stroke") {
        context.lineWidth = Math.max(1, (paint.size * (1 + paint.hardness)) / 2); // where it is half opaque
        context.stroke();
      } else {
        context.fill();
      }
    }
    context.restore(); // or the next frame is clipped, and erased, as this one
  }
}
