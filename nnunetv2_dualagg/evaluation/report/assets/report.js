"use strict";

// ---- tables that sort ----

function sortKey(cell) {
  const number = parseFloat(cell.textContent);
  return Number.isNaN(number) ? cell.textContent : number;
}

function compareKeys(a, b) {
  const numbers = (typeof a === "number") - (typeof b === "number");
  if (numbers) return -numbers; // text, such as a missing value, comes after numbers
  return typeof a === "number" ? a - b : a.localeCompare(b);
}

function sortTable(table, header) {
  const descending = header.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = table.tBodies[0]; // published rows, if any, are a second body and stay where they are
  const keyed = Array.from(body.rows, (row) => [sortKey(row.cells[header.cellIndex]), row]);
  keyed.sort((a, b) => compareKeys(a[0], b[0]) * (descending ? -1 : 1));
  body.append(...keyed.map((pair) => pair[1]));
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[0].cells) {
    header.firstElementChild.addEventListener("click", () => sortTable(table, header));
  }
}

// closed tables are printed too
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("#tables details")) details.open = true;
});

// ---- viewer ----

const { views, colours, error } = JSON.parse(document.getElementById("viewer-data").textContent);
const caseSelect = document.getElementById("case");
const opacity = document.getElementById("opacity");
const status = document.getElementById("status");
let nv;
let shown = {}; // the volumes on display, by role: image, overlay
let queue = Promise.resolve(); // changes happen one after the other

function labelMap(kind) {
  const rows = kind === "errors" ? [error] : Object.values(colours);
  const map = { I: [0], R: [0], G: [0], B: [0], A: [0], labels: [""] };
  rows.forEach(([r, g, b], index) => {
    map.I.push(index + 1);
    map.R.push(r);
    map.G.push(g);
    map.B.push(b);
    map.A.push(255);
    map.labels.push("");
  });
  return map;
}

async function load(layer) {
  const base64 = document.getElementById(layer.id).textContent;
  const volume = await niivue.NVImage.loadFromBase64({ base64, name: `${layer.id}.nii.gz`, colormap: "gray" });
  if (layer.kind !== "image") {
    volume.setColormapLabel(labelMap(layer.kind));
    volume.opacity = opacity.value / 100;
  }
  return volume;
}

function selected(name) {
  const input = document.querySelector(`input[name="${name}"]:checked`);
  return input && input.value !== "" ? views[caseSelect.value].layers[input.value] : null;
}

async function show() {
  const image = selected("image") ?? views[caseSelect.value].layers.find((layer) => layer.kind === "labels");
  const overlay = selected("overlay");
  for (const [role, layer] of [["image", image], ["overlay", overlay]]) {
    if (shown[role]?.layer === layer) continue;
    const volume = layer && (await load(layer));
    if (shown[role]?.volume) nv.removeVolume(shown[role].volume);
    if (volume) {
      nv.addVolume(volume);
      if (role === "image") nv.setVolume(volume, 0); // the image lies below the overlay
    }
    shown[role] = { layer, volume };
  }
  nv.drawScene();
  status.textContent = `${views[caseSelect.value].title}: ${[image, overlay].filter(Boolean).map((layer) => layer.name).join(" with ")}`;
  document.documentElement.dataset.shown = overlay ? overlay.id : "";
}

function update() {
  queue = queue.then(show).catch((reason) => {
    status.textContent = `The viewer failed: ${reason.message}`;
    throw reason;
  });
}

function radio(name, value, text, checked) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "radio", name, value, checked });
  label.append(input, ` ${text}`);
  return label;
}

// the controls of a case: radio buttons for its images and overlays
function fill(id, name, kinds, none) {
  const fieldset = document.getElementById(id);
  fieldset.querySelectorAll("label").forEach((label) => label.remove());
  const layers = views[caseSelect.value].layers.map((layer, index) => [index, layer]);
  const choices = layers.filter(([, layer]) => kinds.includes(layer.kind)).map(([index, layer]) => [index, layer.name]);
  if (none) choices.unshift(["", "none"]);
  const start = none ? 1 : 0;
  choices.forEach(([value, text], place) => {
    const shortcut = none ? `${text} [${place}]` : text;
    fieldset.append(radio(name, value, shortcut, place === start));
  });
  fieldset.hidden = choices.length === 0;
}

function chooseCase() {
  if (shown.overlay?.volume) nv.removeVolume(shown.overlay.volume);
  if (shown.image?.volume) nv.removeVolume(shown.image.volume);
  shown = {};
  fill("images", "image", ["image"], false);
  fill("overlays", "overlay", ["labels", "errors"], true);
  update();
  queue = queue.then(() => {
    nv.scene.crosshairPos = views[caseSelect.value].focus;
    nv.updateGLVolume();
  });
}

function shortcut(event) {
  const choices = document.querySelectorAll('input[name="overlay"]');
  if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in Array.from(choices))) return;
  choices[event.key].checked = true;
  update();
  event.preventDefault();
}

const MOVES = {
  ArrowLeft: [-1, 0, 0],
  ArrowRight: [1, 0, 0],
  ArrowDown: [0, -1, 0],
  ArrowUp: [0, 1, 0],
  PageDown: [0, 0, -1],
  PageUp: [0, 0, 1],
};

function move(event) {
  if (!(event.key in MOVES)) return;
  nv.moveCrosshairInVox(...MOVES[event.key]);
  event.preventDefault();
  event.stopImmediatePropagation();
}

async function start() {
  nv = new niivue.Niivue({ backColor: [0, 0, 0, 1], show3Dcrosshair: true, showLegend: false, isNearestInterpolation: true, dragAndDropEnabled: false, logLevel: "error", crosshairWidth: 0.5 });
  await nv.attachTo("gl");
  nv.setMultiplanarLayout(niivue.MULTIPLANAR_TYPE.ROW);
  nv.opts.multiplanarShowRender = niivue.SHOW_RENDER.NEVER;
  caseSelect.addEventListener("change", () => { queue = queue.then(chooseCase); });
  document.getElementById("images").addEventListener("change", update);
  document.getElementById("overlays").addEventListener("change", update);
  opacity.addEventListener("input", () => {
    if (!shown.overlay?.volume) return;
    shown.overlay.volume.opacity = opacity.value / 100;
    nv.updateGLVolume();
  });
  document.getElementById("viewer-section").addEventListener("keydown", shortcut);
  document.getElementById("gl").addEventListener("keydown", move, true);
  chooseCase();
}

if (views.length) {
  start().catch((reason) => { status.textContent = `The viewer failed: ${reason.message}`; });
} else {
  document.getElementById("viewer-section").hidden = true;
}
