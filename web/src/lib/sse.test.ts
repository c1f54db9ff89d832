import { describe, expect, it } from "vitest";
import { SseReader, type SseEvent } from "./sse";

const kStream =
  ': warming b 37%\r\n\r\nevent: warming\ndata: {"stages":[]}\n\ndata: {"text":"é"}\n\ndata: one\ndata: two\n\ndata:[DONE]\n\n';
const kEvents: SseEvent[] = [
  { event: "comment", data: "warming b 37%" },
  { event: "warming", data: '{"stages":[]}' },
  { event: "message", data: '{"text":"é"}' },
  { event: "message", data: "one\ntwo" },
  { event: "message", data: "[DONE]" },
];

describe("SseReader", () => {
  it("reads the same events however the stream is cut", () => {
    for (let size = 1; size <= kStream.length; ++size) {
      const reader = new SseReader();
      const events: SseEvent[] = [];
      for (let at = 0; at < kStream.length; at += size)
        events.push(...reader.push(kStream.slice(at, at + size)));
      expect(events, `pieces of ${size}`).toEqual(kEvents);
    }
  });

  it("keeps an event that has not ended", () => {
    const reader = new SseReader();
    expect(reader.push("data: half")).toEqual([]);
    expect(reader.push("\n")).toEqual([]);
    expect(reader.push("\n")).toEqual([{ event: "message", data: "half" }]);
  });
});
