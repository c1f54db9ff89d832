#pragma once

#include "cloud/outside.h"

namespace commissure {

/// The process's environment, its programs, and the models that it finds.
CloudOutside cloud_outside();

}  // namespace commissure
