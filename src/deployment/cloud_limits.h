#pragma once

#include <string>

#include "core/result.h"
#include "deployment/cloud_spec.h"
#include "deployment/hardware.h"

namespace commissure {

/// "4" or "4000m" as a number of vCPUs. Errors: kInvalidArgument.
Result<double> parse_cpus(const std::string& text);

/// "16Gi", "512Mi", "2G" or "500M" in GiB. Errors: kInvalidArgument.
Result<double> parse_memory_gib(const std::string& text);

/// What Cloud Run would refuse, or would run and break a chain, as far as the catalogue knows: a region that there is
/// not, CPU and memory that do not go together, a GPU that is not rented, too little beside it, a region without it,
/// numbers of instances. gcloud itself sends such things as they are. Errors: kInvalidArgument in one line, with the
/// nearest value that is taken.
Status check_limits(const CloudSpec& spec, const Catalogue& catalogue);

/// Refuses a GPU for a stage whose image is built from this source tree: its kernels run on CPUs only, so the container
/// would not start, after everything else was made. An `image` that the file names may have GPU kernels.
/// Errors: kFailedPrecondition in one line, with what to change.
Status check_device(const CloudSpec& spec);

}  // namespace commissure
