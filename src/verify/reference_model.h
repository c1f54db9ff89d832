#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "engine/engine.h"
#include "hub/model_store.h"
#include "stage/stage.h"
#include "verify/verify_case.h"

namespace commissure {

/// How the reference computes.
struct ReferenceOptions {
  std::string device = "cpu";  ///< as make_device() takes it
  std::string isa;             ///< as in make_cpu_backend
  std::string precision = "fast";
  std::string kv_dtype = "auto";
  std::vector<int> cuts;  ///< of the chain, whose stages may quantise each in a way of its own
  std::string quants;     ///< as parse_quants() takes them
  int context = 0;        ///< positions that prompt and answer may have together
};

/// A whole model as one stage in this process: what the deployed chain is compared with.
/// Threading: one thread.
class ReferenceModel {
 public:
  /// Loads the model. Errors: of the checkpoint, its tokenizer and the options; kResourceExhausted.
  static Result<std::unique_ptr<ReferenceModel>> load(const LocalModel& model, const ReferenceOptions& options);

  const Tokenizer& tokenizer() const { return *served_.tokenizer; }
  StageInfo info() const { return stage_->info(); }

  /// Answers the cases one by one, each with at most `max_tokens` tokens, in steps of at most `max_step_rows` prompt
  /// rows; calls `on_done` after each case.
  Result<std::vector<VerifyAnswer>> answer(const std::vector<VerifyCase>& cases, int max_tokens, int max_step_rows,
                                           const std::function<void()>& on_done);

  /// Computes `tokens` in the given steps and replaces each step's checksums by the reference's, one per layer.
  /// Positions before the first step or between two steps are computed too.
  Status sum_layers(std::span<const TokenId> tokens, std::vector<VerifyAnswer::Step>& steps);

 private:
  ReferenceModel() = default;

  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stage> stage_;
  ServedModel served_;
};

}  // namespace commissure
