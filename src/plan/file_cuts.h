#pragma once

#include <string>

#include "core/result.h"
#include "deployment/cloud_spec.h"
#include "weights/checkpoint.h"

namespace commissure {

/// Fills in the cuts of a deployment file that has none: the cuts that level the stages' bytes. Cuts that are written
/// stay. Of a model on the hub, behind a URL or in a bucket only the header is read; `header` is that header where the
/// caller has it.
/// Errors: as Checkpoint::open; the message says to write the cuts into the file instead.
Status choose_cuts_of(CloudSpec& spec, const std::string& model, const std::string& revision,
                      const Checkpoint* header = nullptr);

}  // namespace commissure
