#pragma once

#include <string>
#include <string_view>

#include "core/environment.h"
#include "core/result.h"
#include "deployment/cloud_spec.h"

namespace commissure {

/// A deployment as commissure.yaml describes it: names, stages and access, no weights and no image yet. The keys are in
/// file_keys.cc.
struct CloudFile {
  std::string path = "commissure.yaml";  ///< where it was read, for messages
  CloudSpec spec;     ///< stages, names, access, network, labels; `cuts` as written, empty when they are to be chosen
  std::string model;  ///< "hf:OWNER/REPO[:QUANTISATION]", "gs://...", a URL, or a name, file or folder of this machine
  std::string revision;
  std::string quantisation;       ///< as written; part of `model`, too
  std::string image;              ///< "" when `up` builds it
  int context = 0;                ///< longest sequence; 0: the model's, at most 8192
  std::string kv_dtype = "auto";  ///< auto (bf16), bf16 or int8
  std::string quant = "none";     ///< of the stages that name none of their own
  double budget = 0;              ///< most USD an hour while all stages are up; 0: no matter
  int streams = 0;                ///< full contexts that every stage has room for; 0: four

  /// Sequences that may run at once: with `streams` as many as stage A takes requests, else what a stage takes untold.
  int sequences() const;
};

/// Reads one deployment of a commissure.yaml. `${NAME}` and `${NAME:-otherwise}` in values come from `variables`.
/// `deployment` chooses one of the file's `deployments`, which override what stands outside; "" is the only one, or
/// the file itself. Errors: kInvalidArgument with line, key and what it must be; an unknown key names the nearest.
Result<CloudFile> parse_cloud_file(std::string_view text, const std::string& deployment, const Environment& variables);

}  // namespace commissure
