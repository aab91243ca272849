"use strict";
(() => {
  const tools = document.querySelector(".tools");
  const tree = document.querySelector(".tree");
  if (tools && tree) {
    tools.hidden = false;
    tools.addEventListener("click", (event) => {
      const open = event.target.dataset && event.target.dataset.open;
      if (open) tree.querySelectorAll("details").forEach((entry) => { entry.open = open === "true"; });
    });
  }
  // What is folded on the screen would be missing on paper.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open]):not(.each):not(.asset)")];
    folded.forEach((entry) => { entry.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((entry) => { entry.open = false; }));
})();
