#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "deployment/cloud_file.h"
#include "deployment/hardware.h"
#include "plan/model_footprint.h"
#include "plan/planner.h"

namespace commissure {

struct PlanOptions {
  std::string model;              ///< "": the model of the deployment file
  std::optional<CloudFile> file;  ///< the deployment file whose chain is planned; set where `model` is empty
  std::string region;             ///< "": the file's region, or europe-west4
  std::string kv_dtype;           ///< auto (bf16), bf16 or int8; "": the file's value, or auto
  std::string weights;            ///< format of the file's chain: "" as stored, or Q8_0, Q4_K_M
  std::string quant;              ///< as stages quantise at load, all of them; "": as the file says of each
  std::vector<std::string> machines;
  std::string device = "auto";  ///< "cpu" or "cuda": only machines without, or with, a GPU
  std::string catalogue;
  std::vector<std::string> layer_times;  ///< files of `bench --layers --out`
  PlanWish wish;                         ///< `context` and `streams` 0: the file's values, or 8192 and 1
};

/// One row of the table of alternatives: the best chain of one kind of machine with one kind of weights.
struct Alternative {
  std::string machine;
  ChainPlan plan;
};

/// What a deployment file describes, in the planner's numbers.
struct FilePlan {
  std::string title;              ///< "commissure.yaml: demo in europe-west4"
  std::vector<Machine> machines;  ///< one per stage, shaped as the file says; `plan` points at them
  ChainPlan plan;
  std::vector<std::string> problems;  ///< why the file's chain will not do; empty when it will
};

struct Planning {
  MeasuredModel model;
  KvType kv_type = KvType::kBF16;
  Catalogue catalogue;
  PlanWish wish;      ///< every field filled in
  double budget = 0;  ///< the file's limit in USD an hour; 0: none
  std::optional<FilePlan> file;
  std::vector<Alternative> found;    ///< cheapest first
  std::vector<std::string> refused;  ///< why other kinds of machines will not do

  /// The file's chain; without a file the cheapest chain that keeps the weights as they are stored, else the cheapest.
  const ChainPlan& chosen() const;
};

/// Measures the model and plans its chains. A Planning may be moved: its plans stay valid.
/// Errors: as measure_model, check_limits and plan_chain; without a deployment file, also when no chain will do.
Result<Planning> make_plans(const PlanOptions& options);

}  // namespace commissure
