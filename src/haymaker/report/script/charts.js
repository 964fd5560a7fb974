// Charts are drawn when they are near the screen, and the rest while nothing else is to do, so that the page opens fast.

const waiting = new Map(); // host: how it is drawn
const near = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
}, {rootMargin: "400px"});

/** Draw a host's chart now, once; a hidden one waits, for it has no width. */
function draw(host) {
  const how = waiting.get(host);
  if (!how || !host.offsetParent) return null;
  waiting.delete(host);
  near.unobserve(host);
  return how();
}

function later(host, how) {
  waiting.set(host, how);
  near.observe(host);
}

/** Draw what is left, one chart at a time between other work. */
function drawRest() {
  const next = [...waiting.keys()].find((host) => host.offsetParent);
  if (!next) return;
  draw(next);
  (window.requestIdleCallback || setTimeout)(drawRest);
}

for (const host of document.querySelectorAll(".chart")) {
  const spec = JSON.parse(host.querySelector("script").textContent);
  later(host, () => drawChart(host, spec));
}
addEventListener("beforeprint", () => [...waiting.keys()].forEach(draw));
