#include "commands/up_text.h"

#include <fmt/format.h>

#include <map>

#include "deployment/cloud_choice.h"
#include "net/host.h"
#include "terminal/progress.h"

namespace commissure {

namespace {

/// Flags and their values; "" where one has none.
std::map<std::string, std::string> pairs_of(const std::vector<std::string>& flags) {
  std::map<std::string, std::string> pairs;
  for (std::size_t i = 0; i < flags.size(); ++i) {
    const bool has_value = i + 1 < flags.size() && !flags[i + 1].starts_with("--");
    pairs[flags[i]] = has_value ? flags[i + 1] : "";
    i += has_value ? 1 : 0;
  }
  return pairs;
}

/// All settings of a chain as `up` takes them.
std::map<std::string, std::string> settings_of(const LocalChainOptions& chain) {
  auto settings = pairs_of(chain.stage_flags);
  settings["--model"] = chain.model;
  settings["--host"] = chain.host;
  settings["--port"] = std::to_string(chain.port);
  settings["--cuts"] = fmt::format("{}", fmt::join(chain.cuts, ","));
  if (!chain.restarts) settings["--no-restart"] = "";
  return settings;
}

std::string shown(const std::map<std::string, std::string>& settings, const std::string& name) {
  const auto found = settings.find(name);
  if (found == settings.end()) return "not given";
  return found->second.empty() ? (name == "--cuts" ? "one stage" : "given") : found->second;
}

/// A model without a chat template completes text.
bool completes_only(const ApiAddress& endpoint) {
  const auto props = exchange_json(endpoint, "/props");
  if (!props) return false;
  const Json* chat = find_member(*props, "has_chat_template");
  return chat != nullptr && chat->is_boolean() && !chat->get<bool>();
}

}  // namespace

Status check_same(const LocalChainOptions& running, const LocalChainOptions& wanted) {
  const auto before = settings_of(running);
  const auto now = settings_of(wanted);
  auto all = before;
  all.insert(now.begin(), now.end());
  std::string differences;
  for (const auto& [name, unused] : all) {
    if (shown(before, name) == shown(now, name)) continue;
    differences += fmt::format("{}{}: {} there, {} here", differences.empty() ? "" : "; ", name, shown(before, name),
                               shown(now, name));
  }
  if (differences.empty()) return {};
  return Error(Code::kAlreadyExists, "another chain is running: ", running.name, " (", running.model_name, " at ",
               running.url(), ") with other settings (", differences,
               "); stop it first with `commissure down`, or start one beside it with --name and --port");
}

std::string endpoint_text(const ApiAddress& endpoint, const LocalState& state, const ContextPlan& context,
                          std::uint64_t kv_bytes, bool has_page) {
  const bool base = completes_only(endpoint);
  const std::string key = endpoint.api_key.empty() ? "" : " -H \"Authorization: Bearer $COMMISSURE_API_KEY\"";
  std::string down = "commissure down";
  if (state.chain.name != "local") down += " --name " + state.chain.name;
  if (state.chain.name == "local" && has_deployment_file({})) down += " --local";
  std::string text = fmt::format("\nServing {} at {}/v1\n", state.chain.model_name, endpoint.url);
  if (has_page) text += fmt::format("In a browser:  {}/\n", endpoint.url);
  text += fmt::format("Context {} tokens; KV cache for {} tokens of all streams together, {}\n", context.context,
                      context.kv_tokens(), human_bytes(kv_bytes));
  text +=
      fmt::format("Try it:\n  curl {}/v1/{} -H 'Content-Type: application/json'{} \\\n    -d '{}'\nStop it:  {}\n\n",
                  endpoint.url, base ? "completions" : "chat/completions", key,
                  base ? R"({"prompt":"Once upon a time","max_tokens":64})"
                       : R"({"messages":[{"role":"user","content":"Hello!"}]})",
                  down);
  if (!is_loopback(state.chain.host) && endpoint.api_key.empty())
    text += "Whoever reaches this machine can use it: set COMMISSURE_API_KEY before `up`.\n\n";
  return text;
}

}  // namespace commissure
