#pragma once

#include "cloud/outside.h"

namespace commissure {

/// What the cloud room needs from outside: this process's environment, programs of this machine, and models as
/// open_header opens them.
CloudOutside cloud_outside();

}  // namespace commissure
