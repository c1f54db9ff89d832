#pragma once

#include <string>

#include "core/result.h"
#include "deployment/cloud_spec.h"
#include "weights/checkpoint.h"

namespace commissure {

/// Cuts as written, or those that level the stages' bytes. Of a model on the hub, behind a URL or in a bucket only the
/// header is read; `header` where that has been done. Errors: as Checkpoint::open, with what to do instead: write the
/// cuts down.
Status choose_cuts_of(CloudSpec& spec, const std::string& model, const std::string& revision,
                      const Checkpoint* header = nullptr);

}  // namespace commissure
