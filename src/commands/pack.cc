#include <fmt/format.h>

#include <chrono>
#include <memory>

#include "commands/command.h"
#include "hub/model_pack.h"
#include "terminal/progress.h"

namespace commissure {

namespace {

Result<int> pack(const std::string& name) {
  const auto start = std::chrono::steady_clock::now();
  const LocalModel model = TRY(resolve_model(name, false));
  const PackedModel packed = TRY(pack_model(model));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{}: {} in {:.1f} s\n", packed.path, human_bytes(packed.n_bytes), seconds);
  return 0;
}

}  // namespace

CommandRun add_pack(CLI::App& app) {
  auto model = std::make_shared<std::string>();
  app.add_option("model", *model, "known name, file or folder")->required();
  return [model] { return pack(*model); };
}

}  // namespace commissure
