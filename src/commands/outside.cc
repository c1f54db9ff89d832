#include "commands/outside.h"

#include "plan/deployed_model.h"
#include "terminal/captured_process.h"

namespace commissure {

CloudOutside cloud_outside() {
  return {.environment = process_environment, .run = run_captured, .find_model = find_deployed_model};
}

}  // namespace commissure
