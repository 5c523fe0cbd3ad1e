// The page: a slider for log10(T), a bar for every logit. module.js holds the compiled library as text, so that the folder
// works from a disk, where pages may fetch nothing.
"use strict";

const bytes = Uint8Array.from(smxModule.match(/../g), (pair) => parseInt(pair, 16));
const nothing = new Proxy({}, { get: () => () => 0 }); // what the C library would ask of a system, and never does here
const library = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
  wasi_snapshot_preview1: nothing,
}).exports;

const chart = document.getElementById("chart");
const slider = document.getElementById("temperature");
const most = library.most();

function logits() {
  return Array.from(chart.querySelectorAll("input"), (field) => Number(field.value));
}

function view(address, count) {
  return new Float64Array(library.memory.buffer, address, count);
}

function update() {
  const x = logits();
  const temperature = 10 ** Number(slider.value);
  view(library.logits(), x.length).set(x);
  library.softmax(x.length, temperature);
  const p = Array.from(view(library.probabilities(), x.length));
  const top = Math.max(...p);
  Array.from(chart.children).forEach((row, c) => {
    row.classList.toggle("top", p[c] === top);
    row.querySelector(".bar").style.width = `${100 * p[c]}%`;
    row.querySelector("output").value = p[c].toPrecision(6);
  });
  document.getElementById("shown").value = temperature.toPrecision(3);
  document.getElementById("entropy").value = (library.entropy(x.length, temperature) / Math.LN2).toPrecision(6);
  document.getElementById("top").value = top.toPrecision(6);
}

function add(value) {
  if (chart.children.length === most) return;
  const row = document.createElement("div");
  row.className = "row";
  row.innerHTML = '<input type="number" step="0.1" aria-label="logit"><div class="track"><div class="bar"></div></div><output></output>';
  row.querySelector("input").value = value;
  row.querySelector("input").addEventListener("input", update);
  chart.append(row);
}

[2, 1, 0.5, -1, -2.5].forEach(add);
document.getElementById("add").addEventListener("click", () => { add(0); update(); });
document.getElementById("remove").addEventListener("click", () => {
  if (chart.children.length > 1) chart.lastElementChild.remove();
  update();
});
slider.addEventListener("input", update);
update();
