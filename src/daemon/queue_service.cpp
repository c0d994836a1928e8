#include "daemon/queue_service.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include "api/queue_interface.hpp"
#include "base/error.hpp"
#include "base/quantity.hpp"
#include "io/publication.hpp"
#include "queue/incoming.hpp"
#include "queue/job_path.hpp"
#include "queue/transition.hpp"

namespace vmad::daemon {
namespace {

using api::Job;
using api::JobState;

/// After something could not be written to the state directory, or a worker not be started.
constexpr std::int64_t kTryAgainSeconds = 10;

std::int64_t now() { return std::time(nullptr); }

varlink::ServerOptions server_options() {
    varlink::ServerOptions options;
    options.vendor = "vmad";
    options.product = "vmad";
    options.version = VMAD_VERSION;
    options.allow = [](const varlink::Peer& peer) { return peer.uid == 0 || peer.uid == ::geteuid(); };
    options.on_failure = [](const varlink::Call& call, const std::exception& error) {
        spdlog::error("{}: {}", call.method, error.what());
        return api::failed(error.what());
    };
    return options;
}

/// The lines about a job in the log: one for every state that somebody may look for.
void log_job(const Job& job) {
    switch (job.state) {
        case JobState::queued:
            return spdlog::info("job {}: queued: {}", job.id, job.path);
        case JobState::running:
        case JobState::publishing:
            return;
        case JobState::waiting:
            return spdlog::warn("job {}: waiting: {}: {}", job.id, job.path, job.reason);
        case JobState::failed:
            return spdlog::error("job {}: failed: {}: {}", job.id, job.path, job.reason);
        case JobState::done: {
            const std::chrono::seconds took(job.ended_at.value_or(0) - job.started_at.value_or(0));
            return spdlog::info("job {}: done: {}: {} -> {} in {}", job.id, job.path,
                                base::format_size(job.size_before.value_or(0)),
                                base::format_size(job.size_after.value_or(0)), base::format_duration(took));
        }
        case JobState::unchanged:
        case JobState::vanished:
        case JobState::cancelled:
            return spdlog::info("job {}: {}: {}", job.id, api::to_string(job.state), job.path);
    }
}

bool is_below(const std::string& path, const std::string& directory) {
    return directory == "/" ||
           (path.starts_with(directory) && path.size() > directory.size() && path[directory.size()] == '/');
}

}  // namespace

QueueService::QueueService(sd_event* event, io::FileSystem& fs, settings::Settings settings,
                           queue::Spool& spool, base::UniqueFd listening)
    : event_(event),
      fs_(fs),
      settings_(std::move(settings)),
      started_at_(now()),
      spool_(spool),
      queue_(spool_, started_at_),
      mounts_(event, fs,
              [this] {
                  schedule_.ask_keys_again();
                  run_what_can_run();
              }),
      schedule_(
          [this](const std::string& path) {
              const auto* mount = mounts_.find(path);
              return mount != nullptr ? mount->device : std::string();
          },
          settings_.workers),
      server_(event, std::move(listening), server_options()) {
    for (const auto& bad : queue_.bad_files()) spdlog::error("{}: set aside: {}", bad.name, bad.reason);
    for (const auto& [id, job] : queue_.jobs()) schedule_.update(job);
    sd_event_source* source = nullptr;
    varlink::check_event(sd_event_add_time(event_, &source, CLOCK_REALTIME, UINT64_MAX, 0, on_timer, this),
                         "sd_event_add_time");
    timer_.reset(source);
    // Watched before it is read, so that no file can fall in between.
    varlink::check_event(sd_event_add_inotify(event_, &source, spool_.incoming_directory().path().c_str(),
                                              IN_MOVED_TO | IN_CREATE, on_incoming, this),
                         "sd_event_add_inotify");
    incoming_.reset(source);
    server_.add(queue_interface());
    take_incoming();
    run_what_can_run();
}

void QueueService::stop() {
    if (stopping_) return;
    stopping_ = true;
    sd_notify(0, "STOPPING=1");
    spdlog::info("stopping");
    for (const auto& [id, worker] : workers_) worker->stop();
    if (workers_.empty()) sd_event_exit(event_, 0);
}

int QueueService::on_timer(sd_event_source*, std::uint64_t, void* self) noexcept {
    auto& service = *static_cast<QueueService*>(self);
    try {
        service.settle_run_ends();
        service.take_incoming();
        service.run_what_can_run();
    } catch (const std::exception& error) {
        spdlog::error("{}", error.what());
    }
    return 0;
}

int QueueService::on_incoming(sd_event_source*, const struct inotify_event*, void* self) noexcept {
    auto& service = *static_cast<QueueService*>(self);
    try {
        service.take_incoming();
        service.run_what_can_run();
    } catch (const std::exception& error) {
        spdlog::error("incoming: {}", error.what());
    }
    return 0;
}

varlink::Interface QueueService::queue_interface() {
    varlink::Interface interface {
        api::kQueueInterface, std::string(api::queue_interface_description()), {}
    };
    interface.methods["Enqueue"] = [this](varlink::Request& request) {
        request.reply(enqueue(api::parameters_as<api::EnqueueCall>(request.parameters())));
        run_what_can_run();
    };
    interface.methods["List"] = [this](varlink::Request& request) { list(request); };
    interface.methods["Show"] = [this](varlink::Request& request) {
        request.reply({{"job", show(api::parameters_as<api::ShowCall>(request.parameters()))}});
    };
    interface.methods["Status"] = [this](varlink::Request& request) {
        (void)api::parameters_as<api::StatusCall>(request.parameters());
        request.reply({{"status", status()}});
    };
    interface.methods["Wait"] = [this](varlink::Request& request) { wait(request); };
    return interface;
}

std::optional<std::string> QueueService::refusal_of(const std::string& path) const {
    if (auto fault = queue::fault_of_path(path)) return fault;
    if (io::is_reserved_name(path.substr(path.rfind('/') + 1))) return "it is a temporary file of vmad's";
    const auto& directories = settings_.directories;
    const auto accepts = [&](const std::string& directory) { return is_below(path, directory); };
    if (!directories.empty() && std::none_of(directories.begin(), directories.end(), accepts))
        return "it is below none of the configured directories";
    return std::nullopt;
}

api::EnqueueReply QueueService::enqueue(const api::EnqueueCall& call) {
    const auto path = queue::normal_path(call.path);
    if (const auto refusal = refusal_of(path)) throw api::path_refused(call.path, *refusal);
    const auto* mount = mounts_.find(path);
    const auto [job, created] =
        queue_.enqueue(path, call.announced, mount != nullptr ? mount->mount_point : "", now());
    changed(job);
    return {with_progress(job), created};
}

void QueueService::list(varlink::Request& request) {
    const auto call = api::parameters_as<api::ListCall>(request.parameters());
    request.require_more();
    std::optional<Job> last;
    for (const auto& [id, job] : queue_.jobs()) {
        if (!call.states.empty() &&
            std::find(call.states.begin(), call.states.end(), job.state) == call.states.end())
            continue;
        if (last) request.reply_continues(api::JobReply{last});
        last = with_progress(job);
    }
    request.reply(api::JobReply{last});
}

Job QueueService::show(const api::ShowCall& call) const {
    const auto* job = queue_.find(call.id);
    if (job == nullptr) throw api::no_such_job(call.id);
    return with_progress(*job);
}

api::Status QueueService::status() const {
    api::Status status;
    status.version = VMAD_VERSION;
    status.pid = ::getpid();
    status.started_at = started_at_;
    status.state_dir = settings_.state_dir;
    status.workers = settings_.workers;
    for (const auto& [id, job] : queue_.jobs()) ++status.counts[job.state];
    for (const auto& [id, worker] : workers_) status.active.push_back(with_progress(*queue_.find(id)));
    for (const auto* job : queue_.recent_ends(api::kMaxRecentJobs)) status.recent.push_back(*job);
    return status;
}

void QueueService::wait(varlink::Request& request) {
    const auto call = api::parameters_as<api::WaitCall>(request.parameters());
    request.require_more();
    std::set<std::uint64_t> ids(call.ids.begin(), call.ids.end());
    for (const auto id : call.ids)
        if (queue_.find(id) == nullptr) throw api::no_such_job(id);
    for (const auto& path : call.paths) {
        const auto* job = queue_.find(queue::normal_path(path));
        if (job == nullptr) throw api::no_such_path(path);
        ids.insert(job->id);
    }
    if (call.ids.empty() && call.paths.empty())
        for (const auto& [id, job] : queue_.jobs())
            if (!api::is_end(job.state)) ids.insert(id);
    if (ids.empty()) return request.reply(api::JobReply{});

    waiters_.push_front({std::move(request), ids});
    const auto self = waiters_.begin();
    self->request.when_gone([this, self] { waiters_.erase(self); });
    for (const auto id : ids) {
        const auto* job = queue_.find(id);
        if (api::is_end(job->state)) answer_waiters(*job);
    }
}

void QueueService::answer_waiters(const Job& ended) {
    for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
        const auto current = waiter++;
        if (current->ids.erase(ended.id) == 0) continue;
        if (!current->ids.empty()) {
            current->request.reply_continues(api::JobReply{ended});
            continue;
        }
        current->request.reply(api::JobReply{ended});
        waiters_.erase(current);
    }
}

void QueueService::take_incoming() {
    const auto accept = [this](const std::string& path) -> std::optional<std::string> {
        // The hook wrote it, so the backup is finished.
        if (auto refusal = refusal_of(queue::normal_path(path))) return refusal;
        (void)enqueue({path, true});
        return std::nullopt;
    };
    try {
        for (const auto& bad : queue::take_incoming(fs_, spool_.incoming_directory(), accept))
            spdlog::error("incoming/{}: {}", bad.name, bad.reason);
    } catch (const base::Error& error) {
        spdlog::error("incoming: {}", error.what());
        wake_at(now() + kTryAgainSeconds);
    }
}

void QueueService::run_what_can_run() {
    if (stopping_) return;
    while (const auto id = schedule_.next(now())) {
        try {
            start(*id);
        } catch (const base::Error& error) {
            spdlog::error("job {}: cannot start: {}", *id, error.what());
            wake_at(now() + kTryAgainSeconds);
            break;
        }
    }
    if (const auto time = schedule_.look_again_at()) wake_at(*time);
    tell_service_manager();
}

void QueueService::start(std::uint64_t id) {
    const auto& job = queue_.start(id, now());
    schedule_.update(job);
    try {
        const api::WorkerOrder order{job,
                                     settings_.directories,
                                     settings_.state_dir,
                                     queue::only_settles(job),
                                     settings_.threads,
                                     settings_.memory_bytes,
                                     settings_.spill_dir,
                                     settings_.zstd_level};
        workers_[id] = std::make_unique<WorkerProcess>(
            event_, order,
            WorkerProcess::Callbacks{
                [this, id](const api::JobProgress& progress) { progress_[id] = progress; },
                [this, id](const nlohmann::json& record) { keep_record(id, record); },
                [this, id](const std::optional<api::WorkerResult>& result, const std::string& how) {
                    worker_ended(id, {result, how});
                }});
    } catch (const base::Error& error) {
        workers_.erase(id);
        run_ends_[id] = {api::WorkerResult{api::WorkerOutcome::transient, error.what(), {}, {}}, ""};
        settle_run_ends();
    }
}

void QueueService::keep_record(std::uint64_t id, const nlohmann::json& record) {
    const bool publishing = record.get<io::Publication>().phase != io::Publication::Phase::preparing;
    changed(queue_.record_publication(id, publishing ? JobState::publishing : JobState::running, record));
}

void QueueService::worker_ended(std::uint64_t id, RunEnd end) {
    workers_.erase(id);
    progress_.erase(id);
    // Killed because it did not stop in time: that is no death of its own.
    if (!end.result && stopping_) end.result = api::WorkerResult{api::WorkerOutcome::cancelled, "", {}, {}};
    run_ends_[id] = std::move(end);
    settle_run_ends();
    if (stopping_ && workers_.empty()) sd_event_exit(event_, 0);
    run_what_can_run();
}

void QueueService::settle_run_ends() {
    for (auto next = run_ends_.begin(); next != run_ends_.end();) {
        const auto current = next++;
        const auto& [id, end] = *current;
        try {
            if (!end.result) spdlog::error("job {}: worker died ({})", id, end.how);
            const auto [job, again] =
                end.result ? queue_.finish(id, *end.result, now()) : queue_.worker_died(id, end.how, now());
            run_ends_.erase(current);
            changed(job);
            if (again != nullptr) changed(*again);
        } catch (const base::Error& error) {
            spdlog::error("job {}: its end cannot be written: {}", id, error.what());
            wake_at(now() + kTryAgainSeconds);
        }
    }
}

void QueueService::changed(const Job& job) {
    schedule_.update(job);
    log_job(job);
    if (api::is_end(job.state)) answer_waiters(job);
}

void QueueService::wake_at(std::int64_t time) {
    const auto usec = static_cast<std::uint64_t>(time) * 1'000'000;
    std::uint64_t planned = UINT64_MAX;
    int enabled = SD_EVENT_OFF;
    varlink::check_event(sd_event_source_get_time(timer_.get(), &planned), "sd_event_source_get_time");
    varlink::check_event(sd_event_source_get_enabled(timer_.get(), &enabled), "sd_event_source_get_enabled");
    if (enabled != SD_EVENT_OFF && planned <= usec) return;
    varlink::check_event(sd_event_source_set_time(timer_.get(), usec), "sd_event_source_set_time");
    varlink::check_event(sd_event_source_set_enabled(timer_.get(), SD_EVENT_ONESHOT),
                         "sd_event_source_set_enabled");
}

Job QueueService::with_progress(const Job& job) const {
    Job result = job;
    if (const auto found = progress_.find(job.id); found != progress_.end()) result.progress = found->second;
    return result;
}

void QueueService::tell_service_manager() const {
    api::JobCounts counts;
    for (const auto& [id, job] : queue_.jobs()) ++counts[job.state];
    const auto text =
        fmt::format("STATUS={} queued, {} running, {} waiting, {} failed", counts[JobState::queued],
                    counts[JobState::running] + counts[JobState::publishing], counts[JobState::waiting],
                    counts[JobState::failed]);
    sd_notify(0, text.c_str());
}

}  // namespace vmad::daemon
