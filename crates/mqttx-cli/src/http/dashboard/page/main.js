// The page: its parts, and the stream that they listen to.

import { askWith, order } from "./api.js";
import { chartCards } from "./charts.js";
import { detailSheet } from "./detail.js";
import { askToken, report } from "./dialogs.js";
import { byId, set, text } from "./dom.js";
import { showFlows } from "./flows.js";
import { listenToKeys } from "./keys.js";
import { showLog } from "./log.js";
import { Model } from "./model.js";
import { notice, problem } from "./notices.js";
import { showSessions } from "./sessions.js";
import { follow } from "./stream.js";
import { summaryCard } from "./summary.js";
import { themeSwitch } from "./theme.js";

const model = new Model();
askWith(askToken);
byId("summary").append(summaryCard(model), ...chartCards(model));
showFlows(model);
showSessions(model, detailSheet(model));
showLog(model);
listenToKeys(themeSwitch(byId("theme")));
byId("reload").addEventListener("click", reload);

let version = null;
model.listen((changes) => {
  if (!changes.has("hello")) return;
  // Another daemon has another page.
  version ??= model.hello.version;
  if (version !== model.hello.version) location.reload();
  text(byId("daemon"), model.hello.name);
  set(byId("daemon"), "title", `mqttx ${model.hello.version}, since ${new Date(model.hello.started).toLocaleString()}`);
  if (model.hello.stopping) notice("The daemon is about to stop");
  document.title = `${model.hello.name} · mqttx`;
});

const LINKS = { connecting: "Connecting", live: "Live", lost: "Connection lost" };

follow((message) => model.take(message), (link, reason) => {
  set(byId("link"), "data-link", link);
  text(byId("link"), LINKS[link]);
  const banner = byId("banner");
  banner.hidden = link !== "lost";
  if (link === "lost") text(banner, `Connection lost: ${reason}. What is shown is old; the page tries again.`);
});

async function reload() {
  const button = byId("reload");
  button.disabled = true;
  set(button, "aria-busy", "true");
  try {
    const { changes } = await order("POST", "/-/reload");
    notice(`The configuration was read again: ${summed(changes)}`);
  } catch (error) {
    const problems = error.body?.errors;
    if (problems) report("Nothing was changed", problems.map(({ line, column, message }) => `${line}:${column}: ${message}`));
    else problem(`Reload failed: ${error.message}`);
  } finally {
    button.disabled = false;
    set(button, "aria-busy", null);
  }
}

/** What a reload changed, in a few words. */
function summed(changes) {
  const lists = (value, name) => {
    if (Array.isArray(value)) return value.length > 0 ? [`${name} ${value.length}`] : [];
    return Object.entries(value ?? {}).flatMap(([key, inner]) => lists(inner, name ? `${name} ${key}` : key));
  };
  return lists(changes, "").join(", ") || "nothing changed";
}
