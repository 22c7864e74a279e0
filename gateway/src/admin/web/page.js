// Live updates: the gateway sends parts of the page that have changed. Without this script, the page shows the
// state at the time of its request.
"use strict";
(() => {
  const QUIET = 5000;
  const live = document.getElementById("live");
  let source = null;
  let quiet = 0;
  let state = "";

  function say(now) {
    if (now === state) return;
    state = now;
    const stopped = now === "stopped";
    live.className = now;
    live.textContent = stopped
      ? "Live updates have stopped: the page shows the state at the time above. Trying again ..."
      : "Updated every second.";
  }

  function watch() {
    clearTimeout(quiet);
    quiet = setTimeout(() => { say("stopped"); connect(); }, QUIET);
  }

  function connect() {
    if (source) source.close();
    source = new EventSource("/events");
    source.onmessage = (event) => {
      for (const [id, html] of JSON.parse(event.data)) {
        const part = document.getElementById(id);
        if (!part) continue;
        // What is the same stays: a screen reader reads a new state once.
        const now = part.cloneNode(false);
        now.innerHTML = html;
        if (!now.isEqualNode(part)) part.replaceChildren(...now.childNodes);
      }
      say("live");
      watch();
    };
    watch();
  }

  connect();
})();
