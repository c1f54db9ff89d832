#include "local/stage_process.h"

#include <filesystem>
#include <initializer_list>

#include "terminal/paths.h"

namespace commissure {

namespace {

std::string joined(const std::vector<int>& cuts) {
  std::string text;
  for (const int cut : cuts) text += (text.empty() ? "" : ",") + std::to_string(cut);
  return text;
}

}  // namespace

std::string stage_letter(int index) { return std::string(1, static_cast<char>('a' + index)); }

std::string stage_socket(const std::string& chain_name, int index) {
  return (local_dir(chain_name) / (stage_letter(index) + ".sock")).string();
}

std::string stage_log(const LocalChainOptions& chain, int index) {
  return (local_dir(chain.name) / (stage_letter(index) + ".log")).string();
}

// Only what is public goes into arguments; the API key reaches the stages through the inherited environment.
SubprocessOptions stage_command(const LocalChainOptions& chain, int index) {
  const int n_stages = static_cast<int>(chain.cuts.size()) + 1;
  SubprocessOptions command;
  command.arguments = {
      own_executable().string(), "stage", "--stage", stage_letter(index), "--model", chain.model, "--model-name",
      chain.model_name,          "--lazy"};
  auto& arguments = command.arguments;
  const auto add = [&](std::initializer_list<std::string> more) { arguments.insert(arguments.end(), more); };
  if (!chain.cuts.empty()) add({"--cuts", joined(chain.cuts)});
  if (n_stages > 1) add({"--lease", (local_dir(chain.name) / "lease").string()});
  if (index + 1 < n_stages) add({"--next", "unix:" + stage_socket(chain.name, index + 1)});
  if (index == 0) {
    add({"--host", chain.host, "--port", std::to_string(chain.port)});
  } else {
    add({"--listen", "unix:" + stage_socket(chain.name, index)});
  }
  arguments.insert(arguments.end(), chain.stage_flags.begin(), chain.stage_flags.end());
  // The contract's variables of our own environment must not leak into the stages.
  for (const char* variable : {"STAGE", "CUTS", "PORT", "NEXT_ENDPOINT", "MODEL_DIR"})
    command.environment.emplace_back(variable, "");
  command.output = stage_log(chain, index);
  command.new_session = true;
  return command;
}

Result<ProcessId> start_stage(const LocalChainOptions& chain, int index) {
  std::error_code ignored;
  std::filesystem::remove(stage_socket(chain.name, index), ignored);
  const pid_t pid = TRY(start_process(stage_command(chain, index)));
  return ProcessId{pid, process_start_time(pid).value_or(0)};  // 0: it ended at once, which is a death like any other
}

}  // namespace commissure
