#include "ctl/commands/verification_scan.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "api/queue_interface.hpp"
#include "base/path.hpp"
#include "base/units.hpp"
#include "ctl/failure.hpp"
#include "ctl/text/local_time.hpp"
#include "io/mount_table.hpp"
#include "varlink/protocol.hpp"

namespace vmad::ctl {
namespace {

constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;
/// Of a message to the daemon, whose size has a limit.
constexpr std::size_t kForgottenAtOnce = 100;

using Align = TextTable::Align;

bool is_in(const std::string& path, const std::vector<std::string>& places) {
    return std::any_of(places.begin(), places.end(), [&](const std::string& place) {
        return path == place || base::is_below(path, place);
    });
}

bool is_there(io::FileSystem& fs, const std::string& path) {
    try {
        (void)fs.open(path, O_PATH);
        return true;
    } catch (const base::SystemError& error) {
        if (error.number() != ENOENT && error.number() != ENOTDIR) throw;
        return false;
    }
}

std::string archives(std::size_t count) {
    return fmt::format("{} {}", count, count == 1 ? "archive" : "archives");
}

}  // namespace

VerificationScan::VerificationScan(Context& context, const Options& options)
    : context_(context),
      options_(options),
      line_(context.console),
      now_(now()),
      known_(context.daemon().archives()),
      table_({{"SIZE", Align::right}, {"LAST READ", Align::right}, {"ARCHIVE", Align::left, true}}) {}

void VerificationScan::search(const SearchPlace& place) {
    if (is_in(place.path, left_out_)) return;
    if (!options_.names_places && !is_there(context_.fs, place.path)) {
        context_.console.message(place.path + " is not there, so its archives are left for later");
        return left_out_.push_back(place.path);
    }
    places_.push_back(place.path);
    find_archives(
        context_.fs, place.path, [&](FoundArchive archive) { add(std::move(archive), place.storage); },
        [&](const std::string& message) { fail(message); });
}

void VerificationScan::fail(const std::string& message) {
    line_.clear();
    context_.console.error(message, nlohmann::json::object());
    code_ = ExitCode::failed;
}

void VerificationScan::finish() {
    if (!options_.names_places) search_known();
    // Before the list is shortened to what is queued.
    std::set<std::string, std::less<>> found;
    for (const auto& candidate : candidates_) found.insert(candidate.archive.path);
    queue();
    forget(found);
    print_summary();
}

bool VerificationScan::is_wanted(const std::string& path) const {
    return !is_in(path, left_out_) && (!options_.names_places || is_in(path, places_));
}

void VerificationScan::search_known() {
    const auto& directories = options_.directories;
    const auto elsewhere = known_.paths([&](const std::string& path) {
        return is_wanted(path) && !is_in(path, places_) && (directories.empty() || is_in(path, directories));
    });
    // One that cannot be found is dealt with when the others are forgotten.
    for (const auto& path : elsewhere)
        find_archives(
            context_.fs, path, [&](FoundArchive archive) { add(std::move(archive), {}); },
            [](const std::string&) {});
}

void VerificationScan::add(FoundArchive archive, const std::string& storage) {
    candidates_.push_back(known_.candidate(std::move(archive), storage));
    line_.show(fmt::format("searching: {} found", candidates_.size()));
}

void VerificationScan::queue() {
    sort_for_verification(candidates_);
    auto limit = options_.limit;
    if (options_.every_seconds)
        limit = std::min(limit, daily_share(candidates_.size(), *options_.every_seconds));
    auto daemon = context_.daemon();
    for (const auto& candidate : candidates_) {
        if (candidate.archive.modified_ns / kNanosecondsPerSecond < options_.since) continue;
        if (options_.every_seconds && !is_due(candidate, *options_.every_seconds, now_))
            ++read_lately_;
        else if (queued_ + queued_before_ >= limit)
            ++left_for_later_;
        else
            queue(daemon, candidate);
    }
    line_.clear();
}

void VerificationScan::queue(api::QueueClient& daemon, const VerificationCandidate& candidate) {
    line_.show(fmt::format("{} queued", queued_));
    std::optional<api::EnqueueReply> reply;
    try {
        if (!options_.dry_run)
            reply = daemon.enqueue(
                {.path = candidate.archive.path, .storage = candidate.storage, .kind = api::JobKind::verify});
    } catch (const varlink::RemoteError& error) {
        if (error.name() != api::kPathRefusedError) throw;
        return fail(current_failure().message);
    }
    ++(reply && !reply->created ? queued_before_ : queued_);
    report(candidate, reply);
}

void VerificationScan::report(const VerificationCandidate& candidate,
                              const std::optional<api::EnqueueReply>& reply) {
    const auto& archive = candidate.archive;
    if (context_.options.json)
        return context_.console.print_json({{"path", archive.path},
                                            {"size_bytes", archive.size_bytes},
                                            {"modified_at", archive.modified_ns / kNanosecondsPerSecond},
                                            {"read_at", candidate.read_at},
                                            {"job", reply ? nlohmann::json(reply->job.id) : nullptr}});
    table_.add(
        {{base::format_size(archive.size_bytes)}, {relative_time(candidate.read_at, now_)}, {archive.path}});
}

void VerificationScan::forget(const std::set<std::string, std::less<>>& found) {
    const auto gone = known_.gone(context_.fs, io::MountTable::read(context_.fs), found,
                                  {.includes = [this](const std::string& path) { return is_wanted(path); },
                                   .believes_empty = options_.names_places});
    for (const auto& [directory, count] : gone.doubtful)
        context_.console.message(
            fmt::format("{0} holds no archives any more: {1} that {2} known are kept in case its storage is "
                        "not there; \"vmactl scan --verify {0}\" forgets them",
                        directory, count, count == 1 ? "was" : "were"));
    forgotten_ = gone.paths.size();
    if (context_.options.json)
        for (const auto& path : gone.paths)
            context_.console.print_json({{"path", path}, {"forgotten", true}});
    if (options_.dry_run) return;
    auto daemon = context_.daemon();
    for (std::size_t begin = 0; begin < gone.paths.size(); begin += kForgottenAtOnce) {
        const auto first = gone.paths.begin() + static_cast<std::ptrdiff_t>(begin);
        const auto count = std::min(kForgottenAtOnce, gone.paths.size() - begin);
        daemon.forget({first, first + static_cast<std::ptrdiff_t>(count)});
    }
}

void VerificationScan::print_summary() const {
    if (context_.options.json) return;
    auto text = table_.empty() ? std::string() : table_.render(context_.console) + "\n";
    text += archives(candidates_.size());
    const auto add = [&](std::size_t count, const char* what) {
        if (count != 0) text += fmt::format(", {} {}", count, what);
    };
    add(queued_, options_.dry_run ? "to queue" : "queued");
    add(queued_before_, "already queued");
    add(left_for_later_, "left for later");
    add(read_lately_, "not due");
    add(forgotten_, options_.dry_run ? "gone and to forget" : "gone and forgotten");
    context_.console.print(text + "\n");
}

}  // namespace vmad::ctl
