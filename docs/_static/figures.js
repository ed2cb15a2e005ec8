// Make each figure a link to its file, which a reader can enlarge, and mark the wide ones: on a phone these scroll.
"use strict";

(() => {
  const WIDE = 1.6; // width over height

  function link(image) {
    const frame = document.createElement("a");
    frame.className = "figure-frame";
    frame.href = image.src;
    frame.title = "Show the figure alone";
    const ratio = image.naturalWidth / image.naturalHeight;
    if (ratio > WIDE) {
      frame.classList.add("wide");
      frame.style.setProperty("--figure-width", `${Math.min(Math.max(600, 230 * ratio), 1000, image.naturalWidth)}px`);
    }
    image.replaceWith(frame);
    frame.append(image);
  }

  for (const image of document.querySelectorAll(".bd-article img")) {
    if (image.closest("a, .animation, .sphx-glr-thumbcontainer, .hero-moving, .hero-still")) continue;
    if (image.complete) link(image);
    else image.addEventListener("load", () => link(image), { once: true });
  }
})();
