#include "verify/verified_chain.h"

#include <atomic>
#include <charconv>
#include <thread>

#include "api/openai.h"
#include "client/chain_watch.h"
#include "client/event_reader.h"
#include "core/guarded.h"
#include "core/index.h"
#include "local/local_chain.h"
#include "wire/grpc_link.h"
#include "wire/stage_client.h"

namespace commissure {

namespace {

constexpr std::chrono::seconds kBreakLimit{5};
constexpr std::chrono::milliseconds kBusyPause{100};
constexpr int kBusyTries = 50;

Error unreadable(const char* what) {
  return Error(Code::kDataLoss, "the chain's answer has no readable ", what, "; is it a Commissure endpoint?");
}

/// 7 from "token_id:7".
Result<std::int32_t> token_id(const std::string& name) {
  constexpr std::string_view kPrefix = "token_id:";
  std::int32_t id = 0;
  const char* end = name.data() + name.size();
  if (!name.starts_with(kPrefix)) return unreadable("token ids");
  if (const auto read = std::from_chars(name.data() + kPrefix.size(), end, id); read.ptr != end || id < 0)
    return unreadable("token ids");
  return id;
}

Status take_logprobs(const Json& logprobs, VerifyAnswer& answer) {
  const Json* tokens = find_member(logprobs, "tokens");
  const Json* values = find_member(logprobs, "token_logprobs");
  const Json* tops = find_member(logprobs, "top_logprobs");
  if (tokens == nullptr || values == nullptr || tops == nullptr || !tokens->is_array() || !values->is_array() ||
      !tops->is_array() || tokens->size() != values->size() || tokens->size() != tops->size()) {
    return unreadable("log-probabilities");
  }
  for (std::size_t i = 0; i < tokens->size(); ++i) {
    if (!(*tokens)[i].is_string() || !(*values)[i].is_number() || !(*tops)[i].is_object())
      return unreadable("log-probabilities");
    answer.tokens.emplace_back(TRY(token_id((*tokens)[i].get<std::string>())));
    // The API prints enough digits for the float to come back as it was.
    answer.logprobs.push_back(static_cast<float>((*values)[i].get<double>()));
    auto& alternatives = answer.alternatives.emplace_back();
    for (const auto& [name, value] : (*tops)[i].items()) {
      if (!value.is_number()) return unreadable("log-probabilities");
      alternatives[TRY(token_id(name))] = static_cast<float>(value.get<double>());
    }
  }
  return {};
}

Status take_trace(const Json& trace, VerifyAnswer& answer) {
  const Json* steps = find_member(trace, "steps");
  if (steps == nullptr || !steps->is_array()) return unreadable("trace");
  for (const Json& entry : *steps) {
    const Json* position = find_member(entry, "position");
    const Json* rows = find_member(entry, "rows");
    const Json* stages = find_member(entry, "stages");
    if (position == nullptr || rows == nullptr || stages == nullptr || !position->is_number_integer() ||
        !rows->is_number_integer() || !stages->is_array()) {
      return unreadable("trace");
    }
    VerifyAnswer::Step step{position->get<int>(), rows->get<int>(), {}};
    for (const Json& stage : *stages) {
      const Json* checksums = find_member(stage, "checksums");
      if (checksums == nullptr || !checksums->is_array()) continue;
      for (const Json& sum : *checksums)
        step.checksums.push_back(sum.is_number_unsigned() ? sum.get<std::uint32_t>() : 0);
    }
    answer.steps.push_back(std::move(step));
  }
  return {};
}

Json request_body(const VerifyCase& asked, int max_tokens, const std::string& trace) {
  Json ids = Json::array();
  for (const TokenId token : asked.prompt) ids.push_back(token.value);
  Json body = {{"prompt", std::move(ids)},
               {"max_tokens", max_tokens},
               {"temperature", asked.sampled ? kVerifyTemperature : 0.0f},
               {"top_p", 1},
               {"top_k", 0},
               {"min_p", 0},
               {"seed", asked.seed},
               {"ignore_eos", true},
               // What is compared has to be computed, not remembered from the same prompt's other answer.
               {"cache_salt", random_id("verify-")},
               {"logprobs", kVerifyAlternatives},
               {"return_tokens_as_token_ids", true},
               {"stream", true}};
  if (trace == "times") body["trace"] = true;
  if (trace == "layers") body["trace"] = "layers";
  return body;
}

Status take_event(const Json& event, VerifyAnswer& answer) {
  if (const Json* error = find_member(event, "error")) {
    const Json* text = find_member(*error, "message");
    return Error(Code::kUnavailable, text != nullptr && text->is_string() ? text->get<std::string>() : "stream error");
  }
  const Json* choices = find_member(event, "choices");
  if (choices == nullptr || !choices->is_array() || choices->empty()) return {};
  const Json& choice = choices->front();
  if (const Json* logprobs = find_member(choice, "logprobs")) TRY(take_logprobs(*logprobs, answer));
  if (const Json* trace = find_member(choice, "trace")) TRY(take_trace(*trace, answer));
  return {};
}

std::string text_of(const Json& stage, const char* key) {
  const Json* value = find_member(stage, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : "";
}

}  // namespace

Result<std::vector<VerifiedStage>> VerifiedChain::stages() const {
  std::vector<VerifiedStage> stages;
  for (const Json& entry : TRY(fetch_stages(endpoint_))) {
    const Json* layers = find_member(entry, "layers");
    if (layers == nullptr || !layers->is_array() || layers->size() != 2) return unreadable("list of stages");
    if (text_of(entry, "state") == "failed")
      return Error(Code::kUnavailable, "stage ", text_of(entry, "stage"), ": ", text_of(entry, "problem"));
    stages.push_back({text_of(entry, "stage"), (*layers)[0].get<int>(), (*layers)[1].get<int>(),
                      text_of(entry, "model"), text_of(entry, "device"), text_of(entry, "isa"),
                      text_of(entry, "precision"), text_of(entry, "kv_dtype"), text_of(entry, "fingerprint")});
  }
  if (stages.empty()) return unreadable("list of stages");
  return stages;
}

Result<VerifyAnswer> VerifiedChain::ask(const VerifyCase& asked, int max_tokens, const std::string& trace,
                                        const std::function<void(int)>& on_token) const {
  VerifyAnswer answer;
  Status problem;
  std::string error_body;
  EventReader events([&](const Json& event) -> Status {
    const std::size_t before = answer.tokens.size();
    TRY(take_event(event, answer));
    if (answer.tokens.size() > before) on_token(count_of(answer.tokens));
    return {};
  });
  const HttpFetch request = streamed_post(endpoint_, "/v1/completions", request_body(asked, max_tokens, trace));
  const auto on_piece = [&](const HttpReply& head, std::string_view piece) {
    if (head.status >= 400) {
      error_body.append(piece);
      return error_body.size() < 65536;
    }
    problem = events.push(piece);
    return problem.has_value();
  };
  auto reply = http_fetch(request, on_piece);
  // While a stream is broken, new requests are told to come again.
  for (int i = 0; i < kBusyTries && reply && reply->status == 503; ++i) {
    std::this_thread::sleep_for(kBusyPause);
    error_body.clear();
    reply = http_fetch(request, on_piece);
  }
  if (!problem) return Error(problem.error());
  if (!reply) return Error(reply.error());
  if (reply->status >= 400) return server_error(reply->status, error_body);
  return answer;
}

Result<std::vector<VerifyAnswer>> VerifiedChain::ask_all(const std::vector<VerifyCase>& cases, int max_tokens,
                                                         const std::string& trace, int n_at_once,
                                                         const std::function<void(int)>& on_token,
                                                         const std::function<void()>& on_done) const {
  std::vector<VerifyAnswer> answers(cases.size());  // each is one thread's
  std::atomic<std::size_t> next = 0;
  Guarded<std::optional<Error>> failure;
  const auto work = [&] {
    for (std::size_t i = next++; i < cases.size(); i = next++) {
      auto answer = ask(cases[i], max_tokens, trace, on_token);
      if (!answer) {
        failure.with([&](auto& first) {
          if (!first) first = answer.error().within(cases[i].label(40));
        });
        next = cases.size();
        return;
      }
      answers[i] = std::move(*answer);
      on_done();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < n_at_once; ++i) threads.emplace_back(work);
  }
  if (const auto first = failure.copy()) return Error(*first);
  return answers;
}

Status break_stream(const LocalState& state, int index) {
  const Endpoint endpoint = TRY(parse_endpoint("unix:" + stage_socket(state.chain.name, index)));
  const auto stages = TRY(StageClient(endpoint).describe(kBreakLimit));
  StageInfo before = stages.front();  // the same chain as the stage's own, one place earlier
  before.plan.index = index - 1;
  before.plan.layers = {index == 1 ? 0 : state.chain.cuts[index - 2], stages.front().plan.layers.first};
  GrpcLinkOptions options;
  options.endpoint = endpoint;
  options.self = [before] { return before; };
  GrpcLink link(std::move(options));
  // One that counts on no rows: the stages from here on drop theirs.
  link.restart({new_session_name(), {}, {kBreakingHead, 0}});
  link.start([](const Result<StageOutput>&) {});
  const auto deadline = std::chrono::steady_clock::now() + kBreakLimit;
  while (link.n_streams() == 0 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  Status status = link.n_streams() > 0 ? Status() : link.health();
  link.stop();
  return status;
}

}  // namespace commissure
