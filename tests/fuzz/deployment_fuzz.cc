// Feeds the input to the readers of commissure.yaml and of the hardware catalogue.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/check.h"
#include "deployment/cloud_file.h"
#include "deployment/cloud_limits.h"
#include "deployment/hardware.h"
#include "step/stage_plan.h"

namespace {

using namespace commissure;

void check_file(std::string_view text, const std::string& deployment) {
  const auto nothing = [](const std::string&) { return std::optional<std::string>(); };
  const auto file = parse_cloud_file(text, deployment, nothing);
  if (!file) {
    CHECK(!file.error().message().empty());
    return;
  }
  CHECK(!file->model.empty());
  CHECK(!file->spec.stages.empty() && file->spec.stages.size() <= static_cast<std::size_t>(kMaxStages));
  (void)validate(file->spec);
  static const Catalogue catalogue = parse_catalogue(built_in_catalogue()).value();
  (void)check_limits(file->spec, catalogue);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_file(text, "");
  check_file(text, "prod");
  if (const auto catalogue = parse_catalogue(text)) {
    for (const Machine& machine : catalogue->machines) CHECK(machine.bytes_per_second > 0);
    (void)shaped_machine(*catalogue, "", 2, 4);
  }
  return 0;
}
