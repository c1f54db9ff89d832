#include <fmt/format.h>

#include <memory>

#include "commands/command.h"
#include "doctor/examination.h"
#include "terminal/word_wrap.h"

namespace commissure {

CommandRun add_doctor(CLI::App& app) {
  auto as_json = std::make_shared<bool>(false);
  app.add_flag("--json", *as_json, "print JSON");
  return [as_json]() -> Result<int> {
    const Surroundings here = look_around();
    const std::vector<Finding> findings = examine(here);
    if (*as_json) {
      fmt::print("{}\n", pretty_json(examination_json(here, findings)));
    } else {
      fmt::print("{}", examination_text(findings, terminal_width()));
    }
    return can_run_stage(findings) ? 0 : 1;
  };
}

}  // namespace commissure
