#include "core/version.h"

namespace commissure {

const char* const kVersion = COMMISSURE_VERSION;

}  // namespace commissure
