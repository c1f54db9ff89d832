#include "vision/find_vision.h"

#include <utility>
#include <vector>

#include "core/log.h"
#include "vision/vision_weights.h"
#include "weights/location.h"

namespace commissure {
namespace {

/// Whether the text model is one whose images the family's encoders are made for: another may have rows of the same
/// width.
bool takes_images(const Checkpoint& model, VisionFamily family) {
  const std::string name = family == VisionFamily::kGemma3 ? "gemma3" : "gemma4";
  if (const std::string* architecture = model.metadata().text("general.architecture")) return *architecture == name;
  const Json* type = find_member(model.config(), "model_type");
  return type != nullptr && (*type == name || *type == name + "_text");
}

/// Of the file `mmproj`, or of the model's own files where it is null.
Result<std::optional<FoundVision>> read(const Checkpoint& model, std::unique_ptr<Checkpoint> mmproj, int d_text) {
  const Checkpoint& checkpoint = mmproj ? *mmproj : model;
  const std::optional<VisionSpec> spec = TRY(read_vision_spec(checkpoint));
  if (!spec) return std::nullopt;
  if (!takes_images(model, spec->family)) {
    return Error(Code::kUnimplemented, checkpoint.location(), ": its image encoder is made for ",
                 vision_family_name(spec->family), ", which ", model.location(), " is not");
  }
  if (spec->d_text != d_text) {
    return Error(Code::kInvalidArgument, checkpoint.location(), ": its image encoder makes rows of ", spec->d_text,
                 " values, but the model's d_model is ", d_text, " (was it made for another size of the model?)");
  }
  const std::uint64_t n_bytes = TRY(vision_weight_bytes(checkpoint, *spec));
  return FoundVision{*spec, std::move(mmproj), n_bytes};
}

Result<std::optional<FoundVision>> read_file(const Checkpoint& model, const std::string& file, int d_text,
                                             ReadMode mode) {
  auto found = TRY(read(model, TRY(Checkpoint::open(file, mode, Vocabulary::kSkip)), d_text));
  if (!found) return Error(Code::kInvalidArgument, file, ": holds no image encoder (an mmproj file does)");
  return found;
}

/// The first mmproj file beside a GGUF model; "" where there is none. Only folders of this machine are looked into.
std::string beside(const Checkpoint& model) {
  const std::string& location = model.location();
  if (model.format() != CheckpointFormat::kGguf || !model.has_files() || is_url(location) || is_cloud(location)) {
    return "";
  }
  const auto names = model.list_side_folder(".");
  for (const std::string& name : names ? *names : std::vector<std::string>()) {
    if (is_mmproj_name(name)) return model.path_beside(name);
  }
  return "";
}

}  // namespace

Result<std::optional<FoundVision>> find_vision(const Checkpoint& model, const std::string& mmproj, int d_text,
                                               ReadMode mode) {
  if (!mmproj.empty()) return read_file(model, mmproj, d_text, mode);
  auto own = read(model, nullptr, d_text);
  if (own && *own) return own;
  const std::string file = beside(model);
  if (own && file.empty()) return std::nullopt;
  auto found = own ? read_file(model, file, d_text, mode) : std::move(own);
  if (found) return found;
  log_warning("the model takes text alone: its image encoder cannot be used", {{"reason", found.error().message()}});
  return std::nullopt;
}

}  // namespace commissure
