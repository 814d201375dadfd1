"use strict";
// The server makes the page. This fetches it anew when the server says that there is something new, and puts its main part in place.
(() => {
  const QUIET = 25000; // no word for so many milliseconds: the connection is dead, whatever the browser believes
  const lost = document.getElementById("lost");
  const live = document.getElementById("live");
  let heard = Date.now();
  let loading = false;
  let again = false;
  let columns = 0;

  const main = () => document.getElementById("main");

  function wanted() {
    // A container takes some 200 pixels; what is beside them, some 420.
    return Math.max(1, Math.min(8, Math.floor((window.innerWidth - 420) / 200)));
  }

  function ago(moment) {
    const seconds = Math.max(0, Math.round((Date.now() - moment) / 1000));
    for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${name} ago`;
    }
    return seconds < 5 ? "just now" : `${seconds} s ago`;
  }

  function tellTimes() {
    for (const time of document.querySelectorAll("time[datetime]")) {
      if (!time.title) time.title = time.textContent;
      time.textContent = ago(Date.parse(time.dateTime));
    }
  }

  function place(next) {
    const before = main();
    const open = [...before.querySelectorAll("details[open]")].map((one) => one.id);
    const scrolled = [...before.querySelectorAll("figure, .drift, .changes")].map((one) => [one.scrollLeft, one.scrollTop]);
    const focused = before.contains(document.activeElement) ? document.activeElement.closest("[id]")?.id : "";
    const said = before.querySelector("#status").textContent;
    const after = document.importNode(next.getElementById("main"), true);
    for (const id of open) after.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
    before.replaceWith(after);
    after.querySelectorAll("figure, .drift, .changes").forEach((one, index) => {
      if (scrolled[index]) [one.scrollLeft, one.scrollTop] = scrolled[index];
    });
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    document.title = next.title;
    const says = after.querySelector("#status").textContent;
    if (says !== said) live.textContent = says;
    tellTimes();
  }

  function load() {
    if (loading) {
      again = true;
      return;
    }
    loading = true;
    again = false;
    columns = wanted();
    const request = new XMLHttpRequest();
    request.open("GET", `?columns=${columns}`);
    request.responseType = "document"; // parsed, and none of it run
    request.timeout = 15000;
    request.onload = () => {
      if (request.status === 200 && request.responseXML?.getElementById("main")) place(request.responseXML);
    };
    request.onloadend = () => {
      loading = false;
      if (again) load();
    };
    request.send();
  }

  function heardOf(event) {
    heard = Date.now();
    lost.hidden = true;
    const news = JSON.parse(event.data);
    const shown = main().dataset;
    if (String(news.version) !== shown.version || String(Number(news.stale)) !== shown.stale) load();
  }

  function missed() {
    if (!lost.hidden) return;
    lost.querySelector("span").textContent = `What is below is as it was at ${new Date(heard).toLocaleTimeString()}. Trying again…`;
    lost.hidden = false;
  }

  let stream;
  function follow() {
    stream?.close();
    stream = new EventSource("events");
    stream.addEventListener("shown", heardOf);
    stream.onerror = missed; // and the browser tries again by itself, unless it was refused:
  }

  document.getElementById("following").textContent = "It follows what changes by itself.";
  follow();
  tellTimes();
  if (wanted() !== columns) load();
  setInterval(() => {
    tellTimes();
    if (Date.now() - heard > QUIET) missed();
    if (stream.readyState === EventSource.CLOSED || Date.now() - heard > 2 * QUIET) follow();
  }, 5000);
  let resizing;
  window.addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => wanted() !== columns && load(), 200);
  });
})();
