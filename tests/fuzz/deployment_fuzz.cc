// The readers of commissure.yaml and of the hardware catalogue; a word in the input says which one it is for.

#include <cmath>
#include <optional>
#include <string>

#include "deployment/cloud_file.h"
#include "deployment/cloud_limits.h"
#include "deployment/hardware.h"
#include "fuzz/fuzz.h"
#include "step/stage_plan.h"

namespace {

using namespace commissure;

void check_file(std::string_view text, const std::string& deployment) {
  const auto nothing = [](const std::string&) { return std::optional<std::string>(); };
  const auto file = parse_cloud_file(text, deployment, nothing);
  if (!fuzz::is_accepted(file)) return;
  CHECK(!file->model.empty());
  CHECK(!file->spec.stages.empty() && file->spec.stages.size() <= static_cast<std::size_t>(kMaxStages));
  (void)fuzz::is_accepted(validate(file->spec));
  static const Catalogue catalogue = parse_catalogue(built_in_catalogue()).value();
  (void)fuzz::is_accepted(check_limits(file->spec, catalogue));
}

void check_catalogue(std::string_view text) {
  const auto catalogue = parse_catalogue(text);
  if (!fuzz::is_accepted(catalogue)) return;
  for (const Machine& machine : catalogue->machines) CHECK(machine.bytes_per_second > 0);
  (void)fuzz::is_accepted(shaped_machine(*catalogue, "", 2, 4));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::as_text(data, size);
  if (text.find("machines") != text.npos) {
    check_catalogue(text);
  } else {
    check_file(text, text.find("deployments") != text.npos ? "prod" : "");
  }
  return 0;
}
