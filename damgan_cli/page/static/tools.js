// Mouse, pen and fingers on the stage: one paints, two move and zoom. What is drawn goes to `paint` and `find`.

const SEARCHES = new Set(["object", "text", "scratches"]);
const CLICK = 4; // CSS px within which a press is a click

export class Tools {
  // `settings()` gives {tool, size (photo px), hardness, erase}; `paint(document)` and `find(box, point)` act.
  constructor(view, { settings, paint, find }) {
    Object.assign(this, { view, settings, paint, find });
    this.pointers = new Map();
    this.line = null; // what is being drawn: points of the photo
    this.hover = null;
    this.space = false;
    view.guide = (context) => this.drawGuide(context);
    const stage = view.stage;
    for (const kind of ["down", "move", "up", "cancel", "leave"]) {
      stage.addEventListener(`pointer${kind}`, (event) => this[kind](event));
    }
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      const [x, y] = this.where(event);
      view.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : event.ctrlKey ? 0.01 : 0.0015)), x, y);
    }, { passive: false });
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  where(event) {
    const bounds = this.view.stage.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  }

  get moving() {
    return this.space || this.settings().tool === "hand";
  }

  down(event) {
    if (event.target.closest("#divider") || event.button > 1) return;
    this.view.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.where(event));
    if (this.pointers.size > 1) {
      this.line = null; // the second finger: what the first began was no stroke
      this.view.strokes = this.view.strokes.filter((one) => !one.live);
      this.panning = true;
    } else if (this.moving || event.button === 1) {
      this.panning = true;
    } else {
      this.panning = false;
      this.start = this.where(event);
      this.line = [this.point(event)];
      this.showLive();
    }
    this.view.draw();
  }

  move(event) {
    const place = this.where(event);
    this.hover = event.pointerType === "touch" ? null : place;
    const before = this.pointers.get(event.pointerId);
    if (before) {
      if (this.panning) this.pan(event.pointerId, before, place);
      else if (this.line) {
        const all = event.getCoalescedEvents?.() ?? [];
        for (const one of all.length ? all : [event]) this.line.push(this.point(one));
        this.showLive();
      }
      this.pointers.set(event.pointerId, place);
    }
    this.view.draw();
  }

  pan(id, before, place) {
    const others = [...this.pointers].filter(([other]) => other !== id);
    if (!others.length) {
      this.view.move(place[0] - before[0], place[1] - before[1]);
      return;
    }
    const fixed = others[0][1];
    const apart = (from) => Math.max(10, Math.hypot(from[0] - fixed[0], from[1] - fixed[1]));
    this.view.zoom(apart(place) / apart(before), (before[0] + fixed[0]) / 2, (before[1] + fixed[1]) / 2);
    this.view.move((place[0] - before[0]) / 2, (place[1] - before[1]) / 2);
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const line = this.line;
    this.line = null;
    this.view.strokes = this.view.strokes.filter((one) => !one.live);
    if (line && !this.panning) this.finish(line, this.where(event));
    if (!this.pointers.size) this.panning = false;
    this.view.draw();
  }

  cancel(event) {
    this.pointers.delete(event.pointerId);
    this.stop();
  }

  leave() {
    this.hover = null;
    this.view.draw();
  }

  // Forget what is being drawn.
  stop() {
    this.line = null;
    this.view.strokes = this.view.strokes.filter((one) => !one.live);
    this.view.draw();
  }

  point(event) {
    return this.view.place(...this.where(event)).map((side) => Math.round(side * 10) / 10);
  }

  document(line) {
    const { tool, size, hardness, erase } = this.settings();
    if (tool === "brush" || tool === "eraser") {
      return { kind: "stroke", points: thinned(line), size, hardness, erase: tool === "eraser" };
    }
    if (tool === "lasso") return { kind: "lasso", points: thinned(line), erase };
    return { kind: "box", box: box(line), erase };
  }

  showLive() {
    const { tool } = this.settings();
    if (SEARCHES.has(tool) || tool === "box" || tool === "lasso") return; // the guide shows them
    this.view.strokes = this.view.strokes.filter((one) => !one.live);
    this.view.strokes.push({ ...this.document(this.line), live: true });
  }

  finish(line, end) {
    const { tool } = this.settings();
    const clicked = Math.hypot(end[0] - this.start[0], end[1] - this.start[1]) < CLICK;
    if (SEARCHES.has(tool)) {
      if (clicked && tool === "object") this.find(null, line[0]);
      else if (!clicked) this.find(box(line), null);
    } else if (tool === "brush" || tool === "eraser" || (tool === "box" && !clicked)) {
      this.paint(this.document(line));
    } else if (tool === "lasso" && line.length > 2) {
      this.paint(this.document(line));
    }
  }

  // In CSS px of the stage: the brush's ring, the box or lasso that is being drawn.
  drawGuide(context) {
    const { tool, size, hardness } = this.settings();
    const { view } = this;
    const twice = (path) => {
      for (const [colour, width] of [["#000a", 3], ["#fff", 1.2]]) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.beginPath();
        path();
        context.stroke();
      }
    };
    if (this.hover && (tool === "brush" || tool === "eraser") && !this.panning && !this.space) {
      const radius = Math.max(1, (size * view.scale) / 2);
      twice(() => context.arc(...this.hover, radius, 0, 7));
      if (hardness < 1) {
        context.setLineDash([3, 3]);
        twice(() => context.arc(...this.hover, (radius * (1 + hardness)) / 2, 0, 7));
        context.setLineDash([]);
      }
    }
    if (!this.line || this.line.length < 2) return;
    const seen = ([x, y]) => [view.x + x * view.scale, view.y + y * view.scale];
    if (tool === "lasso") {
      twice(() => this.line.forEach((point, i) => (i ? context.lineTo(...seen(point)) : context.moveTo(...seen(point)))));
    } else if (tool === "box" || SEARCHES.has(tool)) {
      const [left, top, right, bottom] = box(this.line);
      const [x, y] = seen([left, top]);
      twice(() => context.rect(x, y, (right - left) * view.scale, (bottom - top) * view.scale));
    }
  }
}

function box(line) {
  const [[x0, y0], [x1, y1]] = [line[0], line[line.length - 1]];
  return [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
}

// Without points that repeat the one before, and no more of them than the server takes.
function thinned(line) {
  const points = line.filter(([x, y], i) => !i || x !== line[i - 1][0] || y !== line[i - 1][1]);
  const step = Math.ceil(points.length / 15000);
  return step > 1 ? points.filter((_, i) => i % step === 0 || i === points.length - 1) : points;
}
