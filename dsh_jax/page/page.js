// Sends an image, or the number of one in the index, and shows what comes back.
"use strict";

const at = (id) => document.getElementById(id);
const most = Number(document.body.dataset.most);
let code = "";
let asked = null; // the question that is not answered yet: a later one takes its place

function say(words, isBad = false) {
  at("status").textContent = words;
  at("status").className = isBad ? "refused" : "";
}

function ask(method, address, body, words, show) {
  asked?.abort();
  const request = (asked = new XMLHttpRequest());
  const bar = at("progress");
  request.open(method, address);
  request.responseType = "text";
  request.upload.onprogress = (sent) => {
    bar.max = sent.total;
    bar.value = sent.loaded;
    if (sent.loaded === sent.total) bar.removeAttribute("value"); // sent, and now looked at
  };
  request.onloadend = () => {
    if (request !== asked) return;
    asked = null;
    bar.hidden = true;
    say("");
    const type = request.getResponseHeader("content-type") ?? "";
    if (type.startsWith("application/json")) show(JSON.parse(request.responseText));
    else say(request.responseText || "The server does not answer: is it still running?", true);
  };
  bar.removeAttribute("value");
  bar.hidden = false;
  say(words);
  request.send(body);
}

function show(answer) {
  code = answer.code;
  at("pictures").innerHTML = answer.pictures;
  at("found").innerHTML = answer.found;
  at("length").hidden = !answer.cuttable;
  at("slider").value = at("slider").max;
  at("bits").value = at("slider").max;
  at("file").value = "";
}

function send(files) {
  const file = files[0];
  if (!file) return;
  if (file.size > most) {
    const megabytes = (bytes) => (bytes / 2 ** 20).toPrecision(3);
    const words = `${file.name}: it has ${megabytes(file.size)} MB`;
    show({ code: "", pictures: "", found: "", cuttable: false });
    say(`${words}, more than the ${megabytes(most)} MB that are taken.`, true);
    return;
  }
  const more = files.length > 1 ? `, the first of ${files.length}` : "";
  history.pushState(null, "", location.pathname);
  ask("POST", `look?name=${encodeURIComponent(file.name)}`, file, `${file.name}${more} …`, show);
}

function showRow(row) {
  ask("GET", `row?row=${encodeURIComponent(row)}`, null, "An image of the index …", (answer) => {
    show(answer);
    at("drop").scrollIntoView();
  });
}

function showAddress() {
  const row = new URLSearchParams(location.search).get("row");
  if (row !== null) showRow(row);
}

at("file").addEventListener("change", () => send(at("file").files));
at("slider").addEventListener("input", () => {
  at("bits").value = at("slider").value;
  const address = `found?code=${code}&bits=${at("slider").value}`;
  ask("GET", address, null, "", (answer) => (at("found").innerHTML = answer.found));
});
at("found").addEventListener("click", (event) => {
  const link = event.target.closest("a[data-row]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return; // a window of its own
  event.preventDefault();
  history.pushState(null, "", link.getAttribute("href"));
  showRow(link.dataset.row);
});
addEventListener("popstate", showAddress);
addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) send(event.clipboardData.files);
  else say("There is no image in the clipboard.", true);
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
addEventListener("dragleave", () => at("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (event.dataTransfer.files.length) send(event.dataTransfer.files);
  else say("That is no file: save the image, then drop it.", true);
});
showAddress();
