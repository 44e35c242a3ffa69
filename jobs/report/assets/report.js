"use strict";
for (const box of document.querySelectorAll(".compare")) {
  const grip = box.querySelector("input");
  const move = () => {
    box.style.setProperty("--x", grip.value + "%");
    grip.setAttribute("aria-valuetext", "source on the left " + grip.value + " %");
  };
  grip.addEventListener("input", move);
  move();
}
const table = document.querySelector("table[data-sortable]");
if (table) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent;
  const order = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const x = Number(a), y = Number(b);
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  };
  heads.forEach((head, i) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      const empty = row => key(row, i) === "";
      const rows = [...body.rows].sort((a, b) =>
        empty(a) || empty(b) || !down ? order(key(a, i), key(b, i)) : order(key(b, i), key(a, i)));
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...rows);
    });
  });
  const text = document.querySelector("#find");
  const choices = [...document.querySelectorAll("select[data-filter]")];
  const shown = document.querySelector("#shown");
  const filter = () => {
    let count = 0;
    for (const row of body.rows) {
      const hit = choices.every(c => !c.value || row.dataset[c.dataset.filter] === c.value) &&
        row.textContent.toLowerCase().includes(text.value.toLowerCase());
      row.hidden = !hit;
      count += hit;
    }
    shown.textContent = count + " of " + body.rows.length + " clips shown";
  };
  text.addEventListener("input", filter);
  choices.forEach(choice => choice.addEventListener("change", filter));
  filter();
}
