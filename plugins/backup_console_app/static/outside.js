// Airflow shows the console in a sandboxed frame, which may not open windows. So a link that leads out of it is
// followed by the page around the frame. Without a frame, or without scripts, it is an ordinary link.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-outside]");
  if (link === null || window.parent === window) {
    return;
  }
  const outside = window.parent.document.createElement("a");
  outside.href = link.href;
  outside.target = "_blank";
  outside.rel = "noopener noreferrer";
  outside.click();
  event.preventDefault();
});
