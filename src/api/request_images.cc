#include "api/request_images.h"

#include <algorithm>
#include <utility>

#include "api/fields.h"
#include "core/ascii.h"
#include "core/base64.h"

namespace commissure {

namespace {

Json* member(Json& object, std::string_view name) {
  return const_cast<Json*>(find_member(object, name));  // of an object that may be changed
}

std::string kind_of_part(const Json& part) {
  const Json* type = find_member(part, "type");
  return type != nullptr && type->is_string() ? type->get<std::string>() : "";
}

bool is_image_kind(std::string_view kind) { return kind == "image_url" || kind == "input_image" || kind == "image"; }

bool is_remote(std::string_view url) {
  const std::string begin = lower(std::string(url.substr(0, 8)));
  return begin.starts_with("http://") || begin.starts_with("https://");
}

/// Walks over the messages and takes what it finds.
class ImageTaker {
 public:
  explicit ImageTaker(const ServedModel& model) : model_(model) {}

  ApiResult<RequestImages> take(Json& body, ImagePlace place) {
    list_ = place == ImagePlace::kInput ? "input" : place == ImagePlace::kList ? "images" : "messages";
    if (place == ImagePlace::kList) take_list(body, list_);
    Json* messages = place != ImagePlace::kList ? member(body, list_) : nullptr;
    for (std::size_t i = 0; messages != nullptr && messages->is_array() && i < messages->size() && !error_; ++i) {
      Json& message = (*messages)[i];
      const std::string where = fmt::format("{}[{}]", list_, i);
      if (place == ImagePlace::kMessageLists) {
        take_list(message, where + ".images");
      } else {
        take_from(message, "content", where, /*may_nest=*/true);
      }
      if (place == ImagePlace::kInput) take_from(message, "output", where, /*may_nest=*/false);
    }
    if (error_) return tl::unexpected(*error_);
    return std::move(images_);
  }

 private:
  /// Of a message or, within it, of what a tool answered.
  void take_from(Json& holder, std::string_view name, const std::string& where, bool may_nest) {
    Json* parts = member(holder, name);
    if (parts == nullptr || !parts->is_array()) return;
    for (std::size_t i = 0; i < parts->size() && !error_; ++i) {
      Json& part = (*parts)[i];
      const std::string kind = kind_of_part(part);
      const std::string here = fmt::format("{}.{}[{}]", where, name, i);
      if (is_image_kind(kind)) {
        take_image(part, kind, here);
      } else if (kind == "tool_result" && may_nest) {
        take_from(part, "content", here, /*may_nest=*/false);
      }
    }
  }

  /// Of strings, in base64 or as data: URLs.
  void take_list(Json& holder, const std::string& where) {
    Json* list = member(holder, "images");
    for (std::size_t i = 0; list != nullptr && list->is_array() && i < list->size() && !error_; ++i) {
      Json& image = (*list)[i];
      const std::string here = fmt::format("{}[{}]", where, i);
      if (!image.is_string() || !may_take(here)) continue;
      const auto& text = image.get_ref<const std::string&>();
      add(image, here, text.starts_with("data:") ? bytes_of_url(text, here) : bytes_of(text, here));
    }
  }

  bool may_take(const std::string& where) {
    if (model_.image_encoder == nullptr) {
      refuse(where, fmt::format("is an image, but the model '{}' takes text only", model_.name));
    } else if (images_.size() == kMaxImages) {
      refuse(where, fmt::format("is one image more than the {} that a request may have", kMaxImages));
    }
    return !error_;
  }

  void add(Json& part, const std::string& where, std::string file, const std::string& url = "") {
    if (error_) return;
    images_.push_back({where, std::move(file), url});
    part = {{"type", "image"}};  // its text goes now: it may be megabytes
  }

  void take_image(Json& part, const std::string& kind, const std::string& where) {
    if (!may_take(where)) return;
    const std::string* text = nullptr;
    bool is_url = true;
    if (Json* source = kind == "image" ? member(part, "source") : nullptr; source != nullptr) {
      text = source_text(*source, where, is_url);
    } else {
      text = url_text(part, kind, where);
    }
    if (error_) return;
    if (is_url && is_remote(*text)) return add(part, where, "", *text);
    add(part, where, is_url ? bytes_of_url(*text, where) : bytes_of(*text, where));
  }

  /// {"type": "base64", "media_type": "image/png", "data": "..."} or {"type": "url", "url": "..."}
  const std::string* source_text(Json& source, const std::string& where, bool& is_url) {
    const std::string kind = kind_of_part(source);
    if (kind != "base64" && kind != "url") {
      refuse(where + ".source", "must be an object with the type \"base64\" or \"url\"");
      return nullptr;
    }
    is_url = kind == "url";
    if (const Json* type = find_member(source, "media_type"); type != nullptr && !type->is_string()) {
      refuse(where + ".source.media_type", "must be a string like \"image/png\"");
      return nullptr;
    }
    return text_member(source, is_url ? "url" : "data", where + ".source");
  }

  /// {"image_url": {"url": "...", "detail": "auto"}}, {"image_url": "..."}, and {"image": "..."} or {"url": "..."} as
  /// chat templates' own examples have it.
  const std::string* url_text(Json& part, const std::string& kind, const std::string& where) {
    std::string_view name = "image_url";
    for (const std::string_view other : {"image", "url"}) {
      if (kind == "image" && find_member(part, name) == nullptr) name = other;
    }
    Json* value = member(part, name);
    if (value == nullptr || !value->is_object()) return text_member(part, name, where);
    return text_member(*value, "url", fmt::format("{}.{}", where, name));
  }

  const std::string* text_member(Json& object, std::string_view name, const std::string& where) {
    Json* value = member(object, name);
    if (value != nullptr && value->is_string()) return &value->get_ref<const std::string&>();
    refuse(fmt::format("{}.{}", where, name), value == nullptr ? "is missing" : "must be a string");
    return nullptr;
  }

  std::string bytes_of_url(std::string_view url, const std::string& where) {
    const std::string begin = lower(std::string(url.substr(0, 5)));
    const std::size_t comma = url.substr(0, kMaxHead).find(',');
    if (!begin.starts_with("data:") || comma == url.npos) {
      refuse(where, "must be a URL of the form data:image/png;base64,... or https://...");
      return "";
    }
    const std::string head = lower(std::string(url.substr(5, comma - 5)));
    if (!head.ends_with(";base64")) {
      refuse(where, "is a data: URL that is not in base64; send it as data:image/png;base64,...");
      return "";
    }
    if (head.find('/') != head.npos && !head.starts_with("image/") && !head.starts_with("application/octet-stream")) {
      refuse(where, fmt::format("is of the type '{}', not an image", head.substr(0, head.find(';'))));
      return "";
    }
    return bytes_of(url.substr(comma + 1), where);
  }

  std::string bytes_of(std::string_view base64, const std::string& where) {
    if (base64.empty()) {
      refuse(where, "is an image without a byte");
      return "";
    }
    if (base64.size() / 4 * 3 > kMaxImageBytes + 2) {
      refuse(where, fmt::format("is an image of about {} bytes, but one may have at most {}", base64.size() / 4 * 3,
                                kMaxImageBytes));
      return "";
    }
    auto bytes = decode_base64(base64);
    if (!bytes) refuse(where, "is no valid base64: " + bytes.error().message());
    return bytes ? std::move(*bytes) : "";
  }

  void refuse(const std::string& where, std::string_view what) {
    if (!error_) error_ = bad_field(list_, fmt::format("'{}' {}", where, what));
  }

  static constexpr std::size_t kMaxHead = 256;  // bytes of a data: URL before its data

  const ServedModel& model_;
  std::string list_;  // that is walked over
  RequestImages images_;
  std::optional<ApiError> error_;
};

}  // namespace

ApiResult<RequestImages> take_images(Json& body, const ServedModel& model, ImagePlace place) {
  return ImageTaker(model).take(body, place);
}

std::optional<ApiError> fetch_images(RequestImages& images, const FetchPolicy& policy, const Unwanted& is_unwanted) {
  const auto deadline = std::chrono::steady_clock::now() + kFetchTime;
  std::size_t n_left = kMaxFetchedBytes;
  for (RequestImage& image : images) {
    if (image.url.empty()) continue;
    auto file = public_fetch({.url = image.url,
                              .policy = policy,
                              .max_bytes = std::min(kMaxImageBytes, n_left),
                              .deadline = deadline,
                              .is_cancelled = is_unwanted});
    if (!file && file.error().code() != Code::kInvalidArgument) return to_api_error(file.error());
    const std::string list = image.where.substr(0, image.where.find('['));
    if (!file) return bad_field(list, fmt::format("'{}' {}", image.where, file.error().message()));
    if (file->empty()) return bad_field(list, fmt::format("'{}' is an image without a byte", image.where));
    n_left -= file->size();
    image.file = std::move(*file);
  }
  return std::nullopt;
}

bool is_taken_image(const Json& part) { return part.is_object() && part.size() == 1 && kind_of_part(part) == "image"; }

}  // namespace commissure
