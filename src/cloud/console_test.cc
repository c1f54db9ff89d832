#include "cloud/console.h"

#include <gtest/gtest.h>

#include "core/json_fields.h"
#include "support/text_lines.h"

namespace commissure {
namespace {

CloudStep upload_step() {
  ProgramCall call = gcloud({"storage", "cp", "m.gguf", "gs://b/m.gguf"});
  call.n_bytes = 125'000'000;
  return {"weights", "brings the model", "roles/storage.admin", {"m.gguf: absent"}, {call}};
}

/// The objects, one a line, that a console for programs prints.
std::vector<Json> events_of(auto&& work) {
  ::testing::internal::CaptureStdout();
  CloudConsole console(true);
  work(console);
  const std::string out = ::testing::internal::GetCapturedStdout();
  std::vector<Json> events;
  for (const std::string_view line : testing::lines_of(out)) events.push_back(parse_json(line).value());
  return events;
}

/// The text for people, off a terminal.
std::string text_of_work(auto&& work) {
  ::testing::internal::CaptureStderr();
  CloudConsole console(false);
  work(console);
  return ::testing::internal::GetCapturedStderr();
}

void run_step(CloudConsole& console, const CloudStep& step) {
  const CloudReport report = console.report();
  report.begin(step);
  report.call(step, 0);
  console.tick("Copying file://m.gguf");
  report.end(step, true, 12.5);
}

TEST(CloudConsole, TellsProgramsOfEveryStepAndCall) {
  const CloudStep step = upload_step();
  const std::vector<Json> events = events_of([&](CloudConsole& console) {
    console.plan({step, {"bucket", "", "", {}, {}}}, 30);
    run_step(console, step);
    console.note("a word");
  });
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[0]["event"], "plan");
  EXPECT_EQ(events[0]["steps"], Json::array({{{"step", "weights"}, {"seconds", 13.0}, {"bytes", 125'000'000}}}))
      << "a step with nothing to do is none";
  EXPECT_EQ(events[0]["seconds"], 43.0) << "with what comes after the last";
  EXPECT_EQ(events[1], (Json{{"event", "begin"},
                             {"step", "weights"},
                             {"why", "brings the model"},
                             {"differences", Json::array({"m.gguf: absent"})}}));
  EXPECT_EQ(events[2]["command"], "gcloud storage cp m.gguf gs://b/m.gguf --quiet");
  EXPECT_EQ(events[3], (Json{{"event", "end"}, {"step", "weights"}, {"changed", true}, {"seconds", 12.5}}));
  EXPECT_EQ(events[4], (Json{{"event", "note"}, {"text", "a word"}}));
}

TEST(CloudConsole, TellsPeopleWithoutControlCodesOffATerminal) {
  const CloudStep step = upload_step();
  const std::string text = text_of_work([&](CloudConsole& console) {
    console.plan({step}, 0);
    run_step(console, step);
    console.report().end(step, false, 1);
  });
  EXPECT_EQ(text,
            "  to do: weights (125.0 MB); about 13.0 s in all\n"
            "weights: brings the model\n"
            "  m.gguf: absent\n"
            "weights: done in 12.5 s\n"
            "weights: unchanged\n");
}

TEST(CloudConsole, SaysNothingOfAPlanWithNothingToDo) {
  EXPECT_EQ(text_of_work([](CloudConsole& console) { console.plan({{"bucket", "", "", {}, {}}}, 5); }), "");
  EXPECT_TRUE(events_of([](CloudConsole& console) { console.plan({}, 5); }).empty());
}

TEST(CloudConsole, NeverShowsASecret) {
  CloudStep step = upload_step();
  step.calls[0].input = "hunter2";
  step.calls[0].secret_input = true;
  for (const Json& event : events_of([&](CloudConsole& console) { run_step(console, step); }))
    EXPECT_EQ(dump_json(event).find("hunter2"), std::string::npos) << event;
}

}  // namespace
}  // namespace commissure
