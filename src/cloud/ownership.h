#pragma once

#include <string>
#include <vector>

#include "cloud/state.h"
#include "deployment/cloud_spec.h"

namespace commissure {

/// Whether the bucket is this deployment's. One with the name that `up` gives and neither labels nor objects is: an
/// `up` ended between the two calls that make it.
bool is_own_bucket(const CloudSpec& spec, const CloudState& state);
/// Something under a name of this deployment that it did not make.
struct ForeignThing {
  std::string what;   ///< "service shop-b"
  std::string owner;  ///< the deployment that its label names; "" for none
};

/// What `up` would change and this deployment did not make. A bucket that the file names is not among it: it is used,
/// and never labelled or removed.
std::vector<ForeignThing> foreign_things(const CloudSpec& spec, const CloudState& state);

/// Errors: kFailedPrecondition, something is not this deployment's and `adopt` was not said, or it is another
/// deployment's.
Status check_owned(const CloudSpec& spec, const std::vector<ForeignThing>& things, bool adopt);

}  // namespace commissure
