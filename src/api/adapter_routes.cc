#include <algorithm>
#include <filesystem>
#include <system_error>

#include "api/api_call.h"
#include "api/generation_fields.h"

// Adapters that come and go while the server runs, as vLLM has it.

namespace commissure {

namespace {

namespace fs = std::filesystem;

/// The path, links resolved, where it lies in the folder.
std::optional<std::string> path_within(const std::string& folder, const std::string& path) {
  std::error_code problem;
  const fs::path base = fs::canonical(folder, problem);
  if (problem) return std::nullopt;
  const fs::path asked = fs::canonical(base / path, problem);  // an absolute path stays as it is
  if (problem) return std::nullopt;
  const auto [rest, unused] = std::mismatch(base.begin(), base.end(), asked.begin(), asked.end());
  if (rest != base.end() || asked == base) return std::nullopt;
  return asked.string();
}

std::string read_name(Fields& fields) {
  std::string name = fields.text("lora_name").value_or("");
  if (!is_adapter_name(name)) {
    fields.fail("lora_name", fmt::format("'lora_name' must be 1 to {} letters, digits or . _ -, the first one a letter "
                                         "or a digit",
                                         kMaxAdapterName));
  }
  return name;
}

}  // namespace

void ApiService::load_adapter(Call& call) const {
  const auto body = call.body();
  if (!body) return;
  if (options_.adapters == nullptr || options_.adapters->options().folder.empty()) {
    return call.fail({.status = 403,
                      .message = "This server loads no adapters at run time: start it with --adapter-dir DIR.",
                      .type = "permission_error",
                      .code = "adapters_off"});
  }
  Fields fields(*body);
  const std::string name = read_name(fields);
  const auto path = path_within(options_.adapters->options().folder, fields.text("lora_path").value_or(""));
  if (!path) fields.fail("lora_path", "'lora_path' must name a folder or file below the server's --adapter-dir");
  const std::vector<std::string> names = model_names(engine_.model(), options_);
  if (std::ranges::count(names, name) > 0 || options_.adapters->has_loaded(name))
    fields.fail("lora_name", fmt::format("the name '{}' is taken; unload that adapter first", name));
  if (!fields.ok()) return call.fail(*fields.error());
  auto waiting = std::make_shared<Call>(call);  // shared: std::function copies
  options_.adapters->add(name, *path, [waiting, name](const Status& loaded) {
    if (!loaded) return waiting->fail(to_api_error(loaded.error()));
    waiting->answer({{"status", "success"}, {"message", fmt::format("LoRA adapter '{}' added.", name)}});
  });
}

void ApiService::unload_adapter(Call& call) const {
  const auto body = call.body();
  if (!body) return;
  Fields fields(*body);
  const std::string name = read_name(fields);
  if (!fields.ok()) return call.fail(*fields.error());
  const Status removed = options_.adapters == nullptr
                             ? Status(Error(Code::kNotFound, "no adapter '", name, "' is loaded"))
                             : options_.adapters->remove(name);
  if (!removed) return call.fail(to_api_error(removed.error()));
  call.answer({{"status", "success"}, {"message", fmt::format("LoRA adapter '{}' removed.", name)}});
}

}  // namespace commissure
