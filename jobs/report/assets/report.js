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
      const has = (name, value) => row.dataset[name] === value ||
        (name === "reason" && row.dataset.reason.split(" ").includes(value));
      const hit = choices.every(c => !c.value || has(c.dataset.filter, c.value)) &&
        row.textContent.toLowerCase().includes(text.value.toLowerCase());
      row.hidden = !hit;
      count += hit;
    }
    shown.textContent = count + " of " + body.rows.length + " clips shown";
  };
  text.addEventListener("input", filter);
  choices.forEach(choice => choice.addEventListener("change", filter));
  const asked = () => {  // index.html#reason=... shows the clips with that reason
    const wanted = new URLSearchParams(location.hash.slice(1));
    for (const choice of choices) {
      const value = wanted.get(choice.dataset.filter);
      if (value !== null && [...choice.options].some(o => o.value === value)) choice.value = value;
    }
    filter();
  };
  addEventListener("hashchange", asked);
  asked();
}
// The player. A picture of its film holds source, restored, and the change in half their size.
const player = document.querySelector(".player");
const show = player && (() => {
  const film = JSON.parse(player.dataset.film);
  const [above, below = 1] = film.fps.split("/").map(Number);
  const fps = above / below, { width, height } = film;
  const video = player.querySelector("video"), canvas = player.querySelector("canvas");
  const stage = player.querySelector(".stage"), context = canvas.getContext("2d");
  const is = name => player.querySelector(`[data-is="${name}"]`);
  const button = player.querySelector('[data-do="play"]');
  const total = film.ranges.reduce((sum, [start, stop]) => sum + stop - start, 0);
  let at = 0;

  const frameOf = index => {
    for (const [start, stop] of film.ranges) {
      if (index < stop - start) return start + index;
      index -= stop - start;
    }
    return film.ranges.at(-1)[1] - 1;
  };
  const indexOf = frame => {
    let before = 0;
    for (const [start, stop] of film.ranges) {
      if (frame >= start && frame < stop) return before + frame - start;
      before += stop - start;
    }
    return -1;
  };
  const part = () => {
    const [start, stop] = is("part").value.split(":").map(Number);
    return [indexOf(start), indexOf(stop - 1)];
  };

  const draw = () => {
    const view = is("view").value, both = view === "both";
    canvas.width = both ? 2 * width : width;
    context.imageSmoothingEnabled = false;
    const panel = (number, x = 0, from = 0) => context.drawImage(
      video, from, number * height, width - from, height, x + from, 0, width - from, height);
    const edge = Math.round(width * is("border").value / 100);
    if (view === "wipe") {
      panel(0);
      if (edge < width) panel(1, 0, edge);
      context.fillStyle = "#fff";
      context.fillRect(edge - 0.5, 0, Math.max(1, width / 320), height);
    } else if (both) {
      panel(0);
      panel(1, width);
    } else if (view === "change") {
      context.drawImage(video, 0, 2 * height, width / 2, height / 2, 0, 0, width, height);
    } else panel(view === "source" ? 0 : 1);
    stage.dataset.view = view;
    is("border").closest("label").hidden = view !== "wipe";
    is("told").textContent = "Frame " + frameOf(at);
    if (document.activeElement !== is("at")) is("at").value = frameOf(at);
  };
  const seek = index => {
    at = Math.max(0, Math.min(total - 1, index));
    video.currentTime = (at + 0.5) / fps;
  };
  const step = by => {
    video.pause();
    const [first, last] = part();
    let next = at + by;
    if (is("loop").checked && at >= first && at <= last)
      next = next > last ? first : next < first ? last : next;
    seek(next);
  };
  const tick = (_, picture) => {
    if (video.paused) return;
    at = Math.min(total - 1, Math.round((picture ? picture.mediaTime : video.currentTime) * fps));
    draw();
    const [first, last] = part();
    if (at >= last) {
      if (is("loop").checked) seek(first);
      else return video.pause();
    }
    next();
  };
  const next = () => video.requestVideoFrameCallback
    ? video.requestVideoFrameCallback(tick) : requestAnimationFrame(() => tick());
  const play = () => {
    if (!video.paused) return video.pause();
    const [first, last] = part();
    if (at < first || at >= last) seek(first);
    video.playbackRate = Number(is("speed").value);
    video.play().then(next, () => {});
  };

  video.addEventListener("loadeddata", draw);
  video.addEventListener("seeked", draw);
  video.addEventListener("ended", () => {
    if (!is("loop").checked) return;
    seek(part()[0]);
    video.play().then(next, () => {});
  });
  for (const name of ["play", "pause"])
    video.addEventListener(name, () => { button.textContent = video.paused ? "Play" : "Pause"; });
  button.addEventListener("click", play);
  player.querySelector('[data-do="back"]').addEventListener("click", () => step(-1));
  player.querySelector('[data-do="on"]').addEventListener("click", () => step(1));
  is("at").addEventListener("change", () => {
    const index = indexOf(Number(is("at").value));
    video.pause();
    if (index >= 0) seek(index);
    else is("told").textContent = "Frame " + is("at").value + " is not in the film";
  });
  is("part").addEventListener("change", () => seek(part()[0]));
  is("view").addEventListener("change", draw);
  is("border").addEventListener("input", draw);
  is("speed").addEventListener("change", () => { video.playbackRate = Number(is("speed").value); });
  is("zoom").addEventListener("change", () => stage.classList.toggle("zoom", is("zoom").checked));
  player.addEventListener("keydown", event => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const typing = event.target.matches('input[type="number"], select');
    const pressing = event.target.matches("button, input");
    const view = is("view");
    const keys = {
      " ": () => !pressing && play(), ",": () => step(-1), ".": () => step(1),
      v: () => { view.selectedIndex = (view.selectedIndex + 1) % view.length; draw(); },
      z: () => is("zoom").click(),
    };
    if (typing || !keys[event.key] || (event.key === " " && pressing)) return;
    event.preventDefault();
    keys[event.key]();
  });
  const drag = event => {
    if (is("view").value !== "wipe" || !(event.buttons & 1)) return;
    const box = canvas.getBoundingClientRect();
    is("border").value = 100 * (event.clientX - box.left) / box.width;
    draw();
  };
  canvas.addEventListener("pointerdown", drag);
  canvas.addEventListener("pointermove", drag);
  if (video.readyState >= 2) draw();
  return frame => {
    const index = indexOf(frame);
    if (index < 0) return false;
    video.pause();
    seek(index);
    player.scrollIntoView({ block: "start" });
    stage.focus({ preventScroll: true });
    return true;
  };
})();
// A link to a frame of the film, and a click on a curve, show the frame.
for (const link of document.querySelectorAll("a[data-frame]"))
  link.addEventListener("click", event => {
    if (show && show(Number(link.dataset.frame))) event.preventDefault();
  });
for (const curve of document.querySelectorAll("svg.curve[data-last]")) {
  const here = curve.parentElement.querySelector(".here");
  const frameAt = event => {
    const box = curve.getBoundingClientRect();
    return Math.round(curve.dataset.last * (event.clientX - box.left) / box.width);
  };
  curve.addEventListener("pointermove", event => {
    here.textContent = "select: frame " + frameAt(event);
  });
  curve.addEventListener("pointerleave", () => { here.textContent = ""; });
  curve.addEventListener("click", event => {
    const frame = frameAt(event);
    if (event.target.closest("a") || (show && show(frame))) return;
    const rows = [...document.querySelectorAll(".frame-row")];
    const away = row => Math.abs(row.id.split("-")[1] - frame);
    const nearest = rows.sort((a, b) => away(a) - away(b))[0];
    if (nearest) location.hash = nearest.id;
  });
}
// A button copies the command beside it.
for (const button of document.querySelectorAll('[data-do="copy"]')) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = "Selected";
    }
  });
}
