// Decisions of the reader. This browser keeps them until they are saved as a file.
const deck = document.querySelector(".deck");
if (deck) {
  const place = "archive-restore decisions " +
    location.pathname.replace(/(clips\/)?[^/]*$/, "");
  const told = deck.querySelector("output"), form = document.querySelector(".decide");
  const regions = [...document.querySelectorAll("input[data-region]")];
  let kept = {}, lasting = true;
  const read = () => {
    try { kept = JSON.parse(localStorage.getItem(place)) || {}; } catch { lasting = false; }
  };
  const write = () => {
    try { localStorage.setItem(place, JSON.stringify(kept)); } catch { lasting = false; }
  };
  const say = text => { told.textContent = text; };
  const count = () => {
    const all = Object.values(kept), clips = new Set(all.map(one => one.clip)).size;
    const where = lasting ? "kept in this browser" : "kept until you leave this page";
    say(all.length ? `Decisions: ${all.length}, about clips: ${clips}; ${where}.`
      : "No decision is kept.");
    deck.classList.toggle("kept", all.length > 0);  // in sight while there is something to save
    for (const button of deck.querySelectorAll("button")) button.disabled = !all.length;
  };
  const { clip, seen } = form ? form.dataset : {};
  const choice = form && form.querySelector("select"), note = form && form.querySelector("input");
  const mine = () => Object.entries(kept).filter(([, one]) => one.clip === clip);
  const show = () => {
    if (form) {
      const whole = kept[clip];
      choice.value = whole ? whole.decision : "";
      for (const box of regions) box.checked = `${clip} ${box.dataset.region}` in kept;
    }
    count();
  };
  // Set a decision, or take it back. Returns whether it fits the others about this clip.
  const put = (decision, region, on) => {
    read();
    const key = region ? `${clip} ${region}` : clip;
    const others = mine().filter(([other]) => other !== key).map(([, one]) => one);
    const repairs = others.some(one => one.region && one.decision === "accept");
    const puts = others.some(one => one.decision === "revert");
    const clash = on && ((decision === "revert" && repairs) ||
      (region && decision === "accept" && puts));
    if (on && !clash) {
      const at = new Date().toISOString().slice(0, 19) + "+00:00";
      kept[key] = { clip, decision, note: note.value.trim(), region, seen, at };
    } else if (!on) delete kept[key];
    write();
    show();
    if (clash) say("A suspect cannot be repaired while source pixels are put back: keep one.");
  };
  if (form) {
    form.hidden = false;
    for (const box of regions) box.closest("label").hidden = false;
    choice.addEventListener("change", () => put(choice.value, "", choice.value !== ""));
    note.addEventListener("input", () => {
      read();
      for (const [, one] of mine()) one.note = note.value.trim();
      write();
    });
    for (const box of regions)
      box.addEventListener("change", () => put(box.dataset.decision, box.dataset.region, box.checked));
  }
  const line = ({ clip, decision, note, region, seen, at }) =>
    JSON.stringify({ clip, decision, ...(note && { note }), ...(region && { region }), seen, at });
  const last = one => one.region ? 0 : 1;  // what is put back comes before the clip is accepted
  deck.querySelector('[data-do="save"]').addEventListener("click", () => {
    read();
    const all = Object.values(kept);
    const open = all.filter(one => one.decision === "question" && !one.note);
    if (open.length) return say("A question needs a note: " + open.map(one => one.clip).join(", "));
    all.sort((a, b) => a.clip < b.clip ? -1 : a.clip > b.clip ? 1 : last(a) - last(b));
    const file = new Blob(all.map(one => line(one) + "\n"), { type: "application/jsonl" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = "decisions.jsonl";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    say("Saved as decisions.jsonl: the command below applies it.");
  });
  deck.querySelector('[data-do="forget"]').addEventListener("click", () => {
    kept = {};
    write();
    show();
  });
  addEventListener("storage", () => { read(); show(); });
  deck.hidden = false;
  read();
  const stale = form ? mine().filter(([, one]) => one.seen !== seen) : [];
  for (const [key] of stale) delete kept[key];
  if (stale.length) write();
  if (form && mine().length) note.value = mine()[0][1].note;
  show();
  if (stale.length) say("The clip was restored again after you decided: decide anew.");
}
