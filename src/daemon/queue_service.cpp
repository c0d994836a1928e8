#include "daemon/queue_service.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include <fmt/format.h>

#include "api/queue_interface.hpp"
#include "base/error.hpp"
#include "base/path.hpp"
#include "daemon/guest_summaries.hpp"
#include "daemon/job_log.hpp"
#include "daemon/log.hpp"
#include "io/temporary_name.hpp"
#include "pve/backup_name.hpp"
#include "queue/incoming.hpp"
#include "queue/queue.hpp"

namespace vmad::daemon {
namespace {

using api::Job;
using api::JobState;

/// After incoming/ could not be read, or a job there not be queued.
constexpr std::int64_t kTryAgainSeconds = 10;
constexpr std::int64_t kDaySeconds = std::int64_t{24} * 3600;
constexpr std::int64_t kForgetEverySeconds = 3600;
constexpr std::string_view kNotifyProgram = "/usr/lib/vmad/notify";

std::int64_t now() { return std::time(nullptr); }

varlink::ServerOptions server_options() {
    varlink::ServerOptions options;
    options.vendor = "vmad";
    options.product = "vmad";
    options.version = VMAD_VERSION;
    options.allow = [](const varlink::Peer& peer) { return peer.uid == 0 || peer.uid == ::geteuid(); };
    options.on_failure = [](const varlink::Call& call, const std::exception& error) {
        log_error(call.method, error.what());
        return api::failed(error.what());
    };
    return options;
}

}  // namespace

QueueService::QueueService(sd_event* event, io::FileSystem& fs, settings::Settings settings,
                           LoadSettings load_settings, queue::Spool& spool, base::UniqueFd listening)
    : fs_(fs),
      settings_(std::move(settings)),
      load_settings_(std::move(load_settings)),
      started_at_(now()),
      spool_(spool),
      queue_(spool_, started_at_),
      catalogue_(fs, spool_.archives_directory()),
      subscriptions_([this](std::uint64_t id, bool awaited) { runner_.set_awaited(id, awaited); }),
      commands_(event),
      metrics_(event, [this] { return metrics_text(status(), guest_summaries(queue_, catalogue_, now())); }),
      incoming_again_(event, [this] { take_incoming(); }),
      retention_(event, [this] { forget_old_jobs(); }),
      runner_(event, fs, queue_, catalogue_, settings_, spool_.is_paused(),
              {[this](const Job& job) { changed(job); },
               [this](const Job& job) {
                   subscriptions_.notify_progress(job);
                   update_status_line();
               }}),
      server_(event, std::move(listening), server_options()) {
    for (const auto& bad : queue_.bad_files()) log_error(bad.name + ": set aside", bad.reason);
    for (const auto& bad : catalogue_.bad_files())
        log_error("archives/" + bad.name + ": set aside", bad.reason);
    // Watched before it is read, so that no file can fall in between.
    sd_event_source* source = nullptr;
    varlink::check_event(sd_event_add_inotify(event, &source, spool_.incoming_directory().path().c_str(),
                                              IN_MOVED_TO | IN_CREATE, on_incoming, this),
                         "sd_event_add_inotify");
    incoming_.reset(source);
    metrics_.set_path(settings_.metrics_file);
    server_.add(queue_interface());
    forget_old_jobs();
    take_incoming();
    update_status_line();
}

QueueService::~QueueService() { metrics_.flush(); }

std::vector<std::string> QueueService::reload() {
    const ReloadNotice notice;
    settings::LoadedSettings loaded;
    try {
        loaded = load_settings_();
    } catch (const base::Error& error) {
        log_error("not reloaded, the current settings are kept", error.what());
        throw;
    }
    const auto keep = [&](const char* key, std::string& value, const std::string& old) {
        if (value == old) return;
        loaded.warnings.push_back(fmt::format("{} takes effect only after a restart of vmad", key));
        value = old;
    };
    keep("socket", loaded.settings.socket, settings_.socket);
    keep("state_dir", loaded.settings.state_dir, settings_.state_dir);
    settings_ = std::move(loaded.settings);
    metrics_.set_path(settings_.metrics_file);
    runner_.settings_changed();
    forget_old_jobs();
    for (const auto& warning : loaded.warnings) log_warning(warning);
    log_info("settings reloaded");
    return loaded.warnings;
}

void QueueService::stop() {
    log_info("stopping");
    runner_.stop();
}

int QueueService::on_incoming(sd_event_source*, const struct inotify_event*, void* self) noexcept {
    try {
        static_cast<QueueService*>(self)->take_incoming();
    } catch (const std::exception& error) {
        log_error("incoming", error.what());
    }
    return 0;
}

varlink::Interface QueueService::queue_interface() {
    using varlink::Request;
    varlink::Interface interface {
        api::kQueueInterface, std::string(api::queue_interface_description()), {}
    };
    auto& methods = interface.methods;
    methods["Enqueue"] = [this](Request& request) {
        request.reply(enqueue(api::parameters_as<api::EnqueueCall>(request.parameters())));
        runner_.start_what_can();
    };
    methods["List"] = [this](Request& request) { list(request); };
    methods["Show"] = [this](Request& request) {
        request.reply({{"job", show(api::parameters_as<api::JobCall>(request.parameters()))}});
    };
    methods["Status"] = [this](Request& request) {
        (void)api::parameters_as<api::EmptyCall>(request.parameters());
        request.reply({{"status", status()}});
    };
    methods["Wait"] = [this](Request& request) { wait(request); };
    methods["Monitor"] = [this](Request& request) {
        (void)api::parameters_as<api::EmptyCall>(request.parameters());
        request.require_more();
        subscriptions_.monitor(std::move(request));
    };
    methods["Archives"] = [this](Request& request) { list_archives(request); };
    methods["Guests"] = [this](Request& request) { list_guests(request); };
    methods["Forget"] = [this](Request& request) {
        request.reply(forget(api::parameters_as<api::ForgetCall>(request.parameters())));
    };
    methods["Cancel"] = [this](Request& request) {
        request.reply({{"job", cancel(api::parameters_as<api::JobCall>(request.parameters()).id)}});
        runner_.start_what_can();
    };
    methods["Retry"] = [this](Request& request) {
        request.reply({{"job", retry(api::parameters_as<api::JobCall>(request.parameters()).id)}});
        runner_.start_what_can();
    };
    methods["Pause"] = [this](Request& request) {
        pause(api::parameters_as<api::PauseCall>(request.parameters()).now);
        request.reply();
    };
    methods["Resume"] = [this](Request& request) {
        (void)api::parameters_as<api::EmptyCall>(request.parameters());
        resume();
        request.reply();
    };
    methods["Reload"] = [this](Request& request) {
        (void)api::parameters_as<api::EmptyCall>(request.parameters());
        try {
            request.reply(api::ReloadReply{reload()});
        } catch (const base::UsageError& error) {
            throw api::invalid_settings(error.what());
        }
    };
    return interface;
}

std::optional<std::string> QueueService::refusal_of(const std::string& path) const {
    if (auto fault = queue::fault_of_path(path)) return fault;
    if (io::is_reserved_name(base::file_name(path))) return "it is one of vmad's temporary files";
    const auto& directories = settings_.directories;
    const auto accepts = [&](const std::string& directory) { return base::is_below(path, directory); };
    if (!directories.empty() && std::none_of(directories.begin(), directories.end(), accepts))
        return "it is not below a configured directory";
    return std::nullopt;
}

api::EnqueueReply QueueService::enqueue(const api::EnqueueCall& call) {
    const auto path = base::normal_path(call.path);
    if (const auto refusal = refusal_of(path)) throw api::path_refused(call.path, *refusal);
    queue::Queue::Archive archive{.path = path,
                                  .mount_point = runner_.mount_point_of(path),
                                  .storage = call.storage,
                                  .vmid = pve::vmid_of(path),
                                  .file = call.file,
                                  .kind = call.kind};
    // A repack reads the name of the guest first; a verify job does not get that far when it fails.
    if (const auto* known = catalogue_.find(path); known != nullptr && call.kind == api::JobKind::verify) {
        archive.guest = known->guest;
        if (archive.storage.empty()) archive.storage = known->storage;
    }
    const auto [job, created, moved] = queue_.enqueue(archive, call.announced, now());
    if (moved) changed(job);
    return {runner_.with_progress(job), created};
}

const Job& QueueService::require(std::uint64_t id) const {
    const auto* job = queue_.find(id);
    if (job == nullptr) throw api::no_such_job(id);
    return *job;
}

Job QueueService::show(const api::JobCall& call) const { return runner_.with_progress(require(call.id)); }

api::Status QueueService::status() const {
    api::Status status;
    status.version = VMAD_VERSION;
    status.pid = ::getpid();
    status.started_at = started_at_;
    status.state_dir = settings_.state_dir;
    status.workers = settings_.workers;
    status.directories = settings_.directories;
    status.verify_every_seconds = settings_.verify_every_seconds;
    status.counts = queue_.counts();
    status.verify_counts = queue_.counts(api::JobKind::verify);
    status.archives = catalogue_.counts(settings_.verify_every_seconds, now(), settings_.directories);
    if (const auto held = runner_.held()) {
        status.hold = held->why;
        status.hold_until = held->until;
    }
    status.oldest_at = queue_.oldest_queued_at();
    status.totals = queue_.totals();
    status.active = runner_.active();
    for (const auto* job : queue_.oldest_waiting(api::kMaxWaitingJobs)) status.waiting.push_back(*job);
    for (const auto* job : queue_.recently_ended(api::kMaxRecentJobs)) status.recent.push_back(*job);
    return status;
}

void QueueService::list(varlink::Request& request) {
    auto call = api::parameters_as<api::ListCall>(request.parameters());
    request.require_more();
    // Jobs that change while the list is on its way come as they are when it is their turn.
    auto next = [this, states = std::move(call.states),
                 last_id = std::uint64_t{0}]() mutable -> std::optional<nlohmann::json> {
        for (auto job = queue_.jobs().upper_bound(last_id); job != queue_.jobs().end(); ++job) {
            last_id = job->first;
            if (states.empty() || std::find(states.begin(), states.end(), job->second.state) != states.end())
                return api::JobReply{runner_.with_progress(job->second)};
        }
        return std::nullopt;
    };
    listings_.start(std::move(request), std::move(next));
}

void QueueService::list_archives(varlink::Request& request) {
    (void)api::parameters_as<api::EmptyCall>(request.parameters());
    request.require_more();
    auto next = [this, last_path = std::string()]() mutable -> std::optional<nlohmann::json> {
        const auto archive = catalogue_.entries().upper_bound(last_path);
        if (archive == catalogue_.entries().end()) return std::nullopt;
        last_path = archive->record.path;
        return api::ArchiveReply{archive->record};
    };
    listings_.start(std::move(request), std::move(next));
}

void QueueService::list_guests(varlink::Request& request) {
    (void)api::parameters_as<api::EmptyCall>(request.parameters());
    request.require_more();
    auto next = [guests = guest_summaries(queue_, catalogue_, now()),
                 index = std::size_t{0}]() mutable -> std::optional<nlohmann::json> {
        if (index == guests.size()) return std::nullopt;
        return api::GuestReply{guests[index++]};
    };
    listings_.start(std::move(request), std::move(next));
}

api::ForgetReply QueueService::forget(const api::ForgetCall& call) {
    api::ForgetReply reply;
    for (const auto& path : call.paths)
        if (catalogue_.forget(base::normal_path(path))) ++reply.forgotten;
    if (reply.forgotten > 0) metrics_.changed();
    return reply;
}

void QueueService::wait(varlink::Request& request) {
    const auto call = api::parameters_as<api::WaitCall>(request.parameters());
    request.require_more();
    std::map<std::uint64_t, const Job*> jobs;
    for (const auto id : call.ids) jobs[id] = &require(id);
    for (const auto& path : call.paths) {
        const auto* job = queue_.find(base::normal_path(path));
        if (job == nullptr) throw api::no_such_path(path);
        jobs[job->id] = job;
    }
    if (call.ids.empty() && call.paths.empty())
        for (const auto& [id, job] : queue_.jobs())
            if (job.kind == api::JobKind::repack && !api::is_final(job.state) &&
                job.waiting_for != api::WaitReason::grace_period)
                jobs[id] = &job;
    if (jobs.empty()) return request.reply(api::JobReply{});
    subscriptions_.wait(std::move(request), jobs);
    runner_.start_what_can();
}

Job QueueService::cancel(std::uint64_t id) {
    const auto before = require(id).state;
    if (api::is_final(before) && before != JobState::failed) throw api::job_has_ended(require(id));
    const auto& job = queue_.cancel(id, now());
    if (before == JobState::failed) catalogue_.acknowledge(job.path);
    if (job.state != before) changed(job);
    runner_.abandon(id);
    return runner_.with_progress(job);
}

Job QueueService::retry(std::uint64_t id) {
    // Its path may have a later one.
    const auto before = *queue_.find(require(id).path, require(id).kind);
    const auto& job = queue_.retry(id, now());
    if (job != before) changed(job);
    return runner_.with_progress(job);
}

void QueueService::pause(bool now) {
    spool_.set_paused(true);
    runner_.pause(now);
    log_info("paused: no jobs start until \"vmactl resume\"");
    metrics_.changed();
}

void QueueService::resume() {
    spool_.set_paused(false);
    log_info("resumed");
    runner_.resume();
    metrics_.changed();
}

void QueueService::take_incoming() {
    const auto accept = [this](const std::string& path) -> std::optional<std::string> {
        // The hook wrote it, so the backup is finished.
        if (auto refusal = refusal_of(base::normal_path(path))) return refusal;
        (void)enqueue({.path = path, .announced = true});
        return std::nullopt;
    };
    try {
        for (const auto& bad : queue::take_incoming(fs_, spool_.incoming_directory(), accept))
            log_error("incoming/" + bad.name, bad.reason);
    } catch (const base::Error& error) {
        log_error("incoming", error.what());
        incoming_again_.at(now() + kTryAgainSeconds);
    }
    runner_.start_what_can();
}

void QueueService::forget_old_jobs() {
    try {
        (void)queue_.prune(now() - settings_.keep_days * kDaySeconds, settings_.keep_jobs);
    } catch (const base::Error& error) {
        log_error("cannot remove old jobs", error.what());
    }
    look_at_old_jobs_at(now() + kForgetEverySeconds);
}

void QueueService::look_at_old_jobs_at(std::int64_t earliest) {
    if (const auto oldest = queue_.oldest_ended_at())
        retention_.at(std::max(*oldest + settings_.keep_days * kDaySeconds + 1, earliest));
}

void QueueService::changed(const Job& job) {
    runner_.update(job);
    log_job(job);
    subscriptions_.notify(job);
    metrics_.changed();
    update_status_line();
    const std::chrono::seconds limit(settings_.command_timeout_seconds);
    const bool has_succeeded = job.state == JobState::done || job.state == JobState::unchanged;
    // That an archive is still good is no news.
    if (has_succeeded && job.kind == api::JobKind::repack)
        commands_.run(settings_.on_success, job, limit);
    else if (job.state == JobState::failed) {
        commands_.run(settings_.on_failure, job, limit);
        if (settings_.notify == settings::Notify::proxmox)
            commands_.run({base::system_path(kNotifyProgram)}, job, limit);
    }
    if (!api::is_final(job.state)) return;
    // Not here: whoever changed the job may still look at it. One in ten more than are kept, because to
    // forget some at a time costs little more than to forget one.
    if (queue_.ended_count() > settings_.keep_jobs + settings_.keep_jobs / 10)
        retention_.at(now());
    else
        look_at_old_jobs_at(now() + kForgetEverySeconds);
}

void QueueService::update_status_line() { status_line_.update(queue_.counts(), runner_.active()); }

}  // namespace vmad::daemon
