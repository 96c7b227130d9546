// The parts of an explanation as they begin; its page when it is made.
const place = document.querySelector("[data-events]");
const status = document.getElementById("progress");
const steps = document.getElementById("steps");
const source = new EventSource(place.dataset.events);

source.addEventListener("step", (event) => {
  const step = JSON.parse(event.data);
  if (Number(event.lastEventId) <= steps.children.length) return;
  const item = document.createElement("li");
  const after = document.createElement("span");
  item.textContent = `${step.part} `;
  after.className = "note";
  after.textContent = `after ${step.seconds.toFixed(1)} s`;
  item.append(after);
  steps.append(item);
  status.textContent = `Now: ${step.part}.`;
});
const over = (text) => {
  source.close();
  status.textContent = text;
};
source.addEventListener("done", () => {
  over("It is made.");
  location.reload();
});
source.addEventListener("failed", (event) => over(`It failed: ${JSON.parse(event.data).message}`));
source.addEventListener("cancelled", () => over("It was cancelled."));
