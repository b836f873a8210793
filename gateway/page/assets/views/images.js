// The images that the gateway keeps, to hand them to nodes in blocks.

import { bytes, count, number, percent } from "../format.js";
import { code, empty, figures, name, time } from "../parts.js";
import { table } from "../table.js";

export const images = {
  label: "Images",
  needs: "images",
  title: () => "Image cache",
  source: () => "/view/images",
  render: ({ bytes: held, limit_bytes: limit, images }) => [
    figures("Cache", [
      ["Images", number(images.length), count(images.filter(({ tasks }) => tasks > 0).length, "in use", "in use")],
      ["Size", bytes(held), limit ? `of ${bytes(limit)}, ${percent(held / limit * 100, 1)}` : "no limit"],
    ]),
    images.length === 0 ? empty("Nothing is kept yet. An image is fetched when its first task is launched, and stays for the next:",
      ["micro run tools/task-sdk/images/hello.wasm --name greeter"]) : table({
      caption: "Images", hidden: true, rows: images, key: ({ handle, digest }) => `${handle} ${digest}`,
      columns: [
        { label: "Image", cell: ({ uri }) => name(fileOf(uri)) },
        { label: "Kind", cell: ({ kind }) => kind },
        { label: "Size", numeric: true, cell: ({ bytes: size }) => bytes(size) },
        { label: "Tasks", numeric: true, cell: ({ tasks }) => number(tasks) },
        { label: "Last used", cell: ({ last_used_ms: used }) => time(used) },
        { label: "Publisher", cell: ({ publisher }) => publisher ? name(publisher) : "none" },
        { label: "Handle", numeric: true, cell: ({ handle }) => String(handle ?? "") },
        { label: "SHA-256", wide: true, cell: ({ digest }) => code(digest) },
        { label: "From", wide: true, cell: ({ uri }) => name(uri) },
      ],
    }),
  ],
};

function fileOf(uri) {
  return String(uri ?? "").split(/[/\\]/).filter(Boolean).at(-1) ?? null;
}
