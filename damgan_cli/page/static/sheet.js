// The contact sheet of a folder, and photos that are dropped on the page.

import * as api from "./api.js";

const SAID = { new: "", work: "in work", done: "done" };
const element = (id) => document.getElementById(id);

// `open(number)` opens a photo; `tell(problem)` shows an error.
export class Sheet {
  constructor(open, tell) {
    this.open = open;
    this.tell = tell;
    element("files").addEventListener("change", (event) => this.take(event.target.files));
    for (const kind of ["dragover", "drop"]) {
      document.addEventListener(kind, (event) => {
        event.preventDefault(); // or the browser would leave the page for the file
        if (kind === "drop" && this.uploads) this.take(event.dataTransfer.files);
      });
    }
  }

  async load() {
    const list = await api.listing();
    this.uploads = list.uploads;
    this.count = list.photos.length;
    element("drop").hidden = !list.uploads;
    element("tiles").replaceChildren(...list.photos.map((photo, number) => this.tile(photo, number)));
    return list;
  }

  tile({ name, state }, number) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = state;
    button.addEventListener("click", () => this.open(number));
    const image = new Image();
    image.loading = "lazy";
    image.alt = "";
    image.addEventListener("error", () => button.classList.add("broken"));
    image.src = api.thumbnail(number);
    const label = document.createElement("span");
    label.textContent = name;
    const mark = document.createElement("em");
    mark.textContent = SAID[state];
    button.append(image, label, mark);
    const item = document.createElement("li");
    item.append(button);
    return item;
  }

  async take(files) {
    let last = null;
    for (const file of files) {
      try {
        last = (await api.upload(file)).number;
      } catch (problem) {
        this.tell(problem);
      }
    }
    element("files").value = "";
    if (last === null) return;
    await this.load();
    if (files.length === 1) this.open(last);
  }
}
