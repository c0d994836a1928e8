#include "daemon/job_runner.hpp"

#include <algorithm>
#include <ctime>

#include "base/error.hpp"
#include "daemon/job_log.hpp"
#include "daemon/log.hpp"
#include "pve/vzdump_lock.hpp"
#include "queue/transition.hpp"

namespace vmad::daemon {
namespace {

using api::Job;
using api::JobState;

/// After something could not be written to the state directory, or a worker not be started.
constexpr std::int64_t kTryAgainSeconds = 10;
/// Nobody reports the end of a backup: while jobs wait for it, it is polled for.
constexpr std::int64_t kLookForVzdumpSeconds = 2;
/// A worker that is silent for so long may hang in a share; whether it does, nobody can say.
constexpr std::int64_t kStalledAfterSeconds = std::int64_t{10} * 60;

/// Of each directory, that a worker looks for: backups of the guest, and failed archives.
constexpr std::size_t kMostBackupsBeside = 400;
constexpr std::size_t kMostFailedBeside = 100;
/// Of the paths of both: an order has to fit a message, with each byte as up to six of JSON.
constexpr std::size_t kMostBytesBeside = 100'000;

std::int64_t now() { return std::time(nullptr); }

}  // namespace

JobRunner::JobRunner(sd_event* event, io::FileSystem& fs, queue::Queue& queue, queue::Catalogue& catalogue,
                     const settings::Settings& settings, bool paused, Callbacks callbacks)
    : event_(event),
      fs_(fs),
      queue_(queue),
      catalogue_(catalogue),
      settings_(settings),
      callbacks_(std::move(callbacks)),
      paused_(paused),
      rate_(io::RateLimit::create()),
      verify_rate_(io::RateLimit::create()),
      mounts_(event, fs, [this] { mounts_changed(); }),
      schedule_(
          [this](const std::string& path) {
              const auto* mount = mounts_.find(path);
              return mount != nullptr ? mount->device : std::string();
          },
          settings.workers),
      alarm_(event, [this] {
          report_run_ends();
          look_for_stalled_workers();
          start_what_can();
      }) {
    set_rates();
    for (const auto& [id, job] : queue_.jobs()) schedule_.update(job);
}

void JobRunner::settings_changed() {
    set_rates();
    schedule_.set_workers(settings_.workers);
    start_what_can();
}

void JobRunner::set_rates() {
    rate_.set_bytes_per_second(settings_.bwlimit_bytes_per_second);
    // When there is no such limit any more, jobs that run under it go on under one like that of all.
    verify_rate_.set_bytes_per_second(
        settings_.verify_bwlimit_bytes_per_second.value_or(settings_.bwlimit_bytes_per_second));
}

const io::RateLimit& JobRunner::rate_for(const Job& job) const {
    const bool has_its_own = settings_.verify_bwlimit_bytes_per_second.has_value();
    return job.kind == api::JobKind::verify && has_its_own ? verify_rate_ : rate_;
}

void JobRunner::pause(bool now) {
    paused_ = true;
    if (!now) return;
    for (const auto& [id, worker] : workers_) abandon(id);
}

void JobRunner::resume() {
    paused_ = false;
    start_what_can();
}

void JobRunner::abandon(std::uint64_t id) {
    const auto worker = workers_.find(id);
    if (worker == workers_.end()) return;
    abandoned_.insert(id);
    worker->second->stop();
}

void JobRunner::stop() {
    stopping_ = true;
    for (const auto& [id, worker] : workers_) abandon(id);
    if (workers_.empty()) sd_event_exit(event_, 0);
}

JobRunner::Holds JobRunner::holds() const {
    if (paused_) return {Held{api::Hold::paused, {}}, Held{api::Hold::paused, {}}};
    const auto by_window = [](const std::optional<settings::StartWindow>& window) -> std::optional<Held> {
        if (!window || window->contains(now())) return std::nullopt;
        return Held{api::Hold::start_window, window->next_opening(now())};
    };
    Holds holds{by_window(settings_.start_window),
                by_window(settings_.verify_window ? settings_.verify_window : settings_.start_window)};
    if (holds.repacks && holds.verifies) return holds;
    try {
        if (!settings_.defer_while_vzdump_runs || !pve::vzdump_runs(fs_)) return holds;
        for (auto* held : {&holds.repacks, &holds.verifies})
            if (!*held) *held = Held{api::Hold::vzdump, {}};
    } catch (const base::Error& error) {
        log_warning("cannot check whether vzdump is running, so jobs do not wait for it", error.what());
    }
    return holds;
}

std::int64_t JobRunner::look_for_end_of(const Holds& holds) const {
    std::optional<std::int64_t> first;
    for (const auto& held : {holds.repacks, holds.verifies}) {
        if (!held) continue;
        const auto end = held->until.value_or(now() + kLookForVzdumpSeconds);
        first = std::min(first.value_or(end), end);
    }
    return first.value_or(now());
}

void JobRunner::start_what_can() {
    if (stopping_) return;
    // Whether a backup runs is looked up only when there is a job that it could hold.
    while (schedule_.next(now())) {
        const auto hold = holds();
        if (paused_) break;
        const auto choice = [](const std::optional<Held>& held) {
            return held ? queue::Schedule::Choice::awaited : queue::Schedule::Choice::any;
        };
        const auto id = schedule_.next(now(), choice(hold.repacks), choice(hold.verifies));
        if (!id) {
            alarm_.at(look_for_end_of(hold));
            break;
        }
        // It goes on when that worker is gone.
        if (abandon_verify_beside(*queue_.find(*id))) break;
        try {
            start(*id);
        } catch (const base::Error& error) {
            log_about_job(*queue_.find(*id), LogLevel::error, std::string("cannot start: ") + error.what());
            alarm_.at(now() + kTryAgainSeconds);
            break;
        }
    }
    halt_and_go_on();
    if (const auto time = schedule_.look_again_at()) alarm_.at(*time);
}

void JobRunner::halt_and_go_on() {
    for (const auto& [id, halted] : schedule_.halted()) {
        const auto worker = workers_.find(id);
        if (worker == workers_.end() || halted == halted_.contains(id)) continue;
        worker->second->set_halted(halted);
        if (halted)
            halted_.insert(id);
        else
            halted_.erase(id);
        heard_of(id);
        callbacks_.progressed(with_progress(*queue_.find(id)));
    }
}

bool JobRunner::abandon_verify_beside(const Job& job) {
    const auto* verify = queue_.find(job.path, api::JobKind::verify);
    if (job.kind == api::JobKind::verify || verify == nullptr || !workers_.contains(verify->id)) return false;
    abandon(verify->id);
    return true;
}

void JobRunner::start(std::uint64_t id) {
    const auto& job = queue_.start(id, mount_point_of(queue_.find(id)->path), now());
    try {
        changed(job);
        halt_and_go_on();
        heard_of(id);
        start_worker(job);
    } catch (const base::Error& error) {
        workers_.erase(id);
        run_ends_[id] = {
            api::WorkerResult{
                .state = JobState::waiting, .waiting_for = api::WaitReason::retry, .reason = error.what()},
            ""};
        report_run_ends();
    }
}

void JobRunner::start_worker(const Job& job) {
    const auto id = job.id;
    workers_[id] = std::make_unique<WorkerProcess>(
        event_, order_for(job), rate_for(job),
        WorkerProcess::Callbacks{
            [this, id](const api::JobProgress& progress) {
                heard_of(id);
                progress_[id] = progress;
                callbacks_.progressed(with_progress(*queue_.find(id)));
            },
            [this, id](const api::WorkerGuest& guest) {
                heard_of(id);
                queue_.name_guest(id, guest.name);
            },
            [this, id](const api::WorkerRecord& record) { keep_record(id, record); },
            [this, id](const std::string& line) { log_worker_line(*queue_.find(id), line); },
            [this, id](const std::optional<api::WorkerResult>& result, const std::string& how) {
                worker_ended(id, {result, how});
            }});
}

api::WorkerOrder JobRunner::order_for(const Job& job) const {
    auto job_to_run = job;
    if (const auto* refusal = queue_.space_refusal_for(job)) job_to_run.space_refusal = *refusal;
    const auto* known = catalogue_.find(job.path);
    return {.job = std::move(job_to_run),
            .directories = settings_.directories,
            .state_dir = settings_.state_dir,
            .recover_only = queue::only_recovers(job),
            .threads = settings_.threads,
            .memory_bytes = settings_.memory_bytes,
            .known = known != nullptr ? std::optional(*known) : std::nullopt,
            .known_beside = known_beside(job),
            .share_blocks = settings_.share_blocks == settings::ShareBlocks::automatic,
            .verify_source = settings_.verify_source,
            .last_attempt = job.attempts >= queue::kMostAttempts,
            .spill_dir = settings_.spill_dir,
            .zstd_level = settings_.zstd_level,
            .reserve_bytes = settings_.reserve_bytes,
            .grace_period_seconds = settings_.grace_period_seconds};
}

std::vector<std::string> JobRunner::known_beside(const Job& job) const {
    auto beside = catalogue_.beside(job.path, job.vmid, kMostBackupsBeside);
    for (auto& path : queue_.failed_beside(job.path, kMostFailedBeside))
        if (std::find(beside.begin(), beside.end(), path) == beside.end()) beside.push_back(std::move(path));
    std::size_t bytes = 0;
    const auto is_too_much = [&](const std::string& path) {
        return (bytes += path.size()) > kMostBytesBeside;
    };
    beside.erase(std::find_if(beside.begin(), beside.end(), is_too_much), beside.end());
    return beside;
}

void JobRunner::keep_record(std::uint64_t id, const api::WorkerRecord& record) {
    heard_of(id);
    const bool moves = queue_.find(id)->state != record.state;
    const auto& job = queue_.save_recovery(id, record);
    if (moves) changed(job);
}

void JobRunner::worker_ended(std::uint64_t id, RunEnd end) {
    workers_.erase(id);
    heard_at_.erase(id);
    progress_.erase(id);
    halted_.erase(id);
    // Killed because it did not stop in time: that is no death of its own.
    if (abandoned_.erase(id) != 0 && !end.result) end.result = api::WorkerResult{.state = JobState::queued};
    run_ends_[id] = std::move(end);
    report_run_ends();
    if (stopping_ && workers_.empty()) sd_event_exit(event_, 0);
    start_what_can();
}

void JobRunner::report_run_ends() {
    for (auto next = run_ends_.begin(); next != run_ends_.end();) {
        const auto current = next++;
        auto& [id, end] = *current;
        const Job& before = *queue_.find(id);
        try {
            if (!end.result)
                log_about_job(before, LogLevel::error, "the worker died (" + end.how + ")");
            else if (!end.result->warning.empty())
                log_about_job(before, LogLevel::warning, end.result->warning);
            if (end.result) keep_findings(before, *end.result);
            const auto finished =
                end.result ? queue_.finish(id, *end.result, now()) : queue_.worker_died(id, end.how, now());
            run_ends_.erase(current);
            changed(finished.job);
            if (finished.next != nullptr) changed(*finished.next);
            for (const auto* superseded : finished.superseded) changed(*superseded);
        } catch (const base::Error& error) {
            log_about_job(before, LogLevel::error, std::string("cannot save its result: ") + error.what());
            alarm_.at(now() + kTryAgainSeconds);
        }
    }
}

void JobRunner::keep_findings(const Job& job, api::WorkerResult& result) {
    if (auto record = queue::record_after(catalogue_.find(job.path), job, result)) {
        catalogue_.put(*record);
        result.record = std::move(record);
    }
    if (result.state == JobState::vanished) (void)catalogue_.forget(job.path);
    for (const auto& path : result.gone) (void)catalogue_.forget(path);
}

void JobRunner::heard_of(std::uint64_t id) {
    auto& heard_at = heard_at_[id];
    if (heard_at == 0) schedule_.set_stalled(id, false);
    heard_at = now();
    alarm_.at(heard_at + kStalledAfterSeconds);
}

void JobRunner::look_for_stalled_workers() {
    for (auto& [id, heard_at] : heard_at_) {
        if (heard_at == 0 || halted_.contains(id)) continue;
        if (now() < heard_at + kStalledAfterSeconds) {
            alarm_.at(heard_at + kStalledAfterSeconds);
            continue;
        }
        heard_at = 0;
        schedule_.set_stalled(id, true);
        log_about_job(
            *queue_.find(id), LogLevel::warning,
            "no progress from the worker for 10 minutes; it no longer blocks jobs on other storages");
    }
}

void JobRunner::changed(const Job& job) {
    schedule_.update(job);
    callbacks_.changed(job);
}

void JobRunner::mounts_changed() {
    schedule_.ask_keys_again();
    for (const auto& [id, job] : queue_.jobs())
        if (job.waiting_for == api::WaitReason::storage &&
            mount_point_of(job.path).size() >= job.mount_point.size())
            schedule_.wake(id);
    start_what_can();
}

std::vector<Job> JobRunner::active() const {
    std::vector<Job> jobs;
    for (const auto& [id, worker] : workers_) jobs.push_back(with_progress(*queue_.find(id)));
    return jobs;
}

Job JobRunner::with_progress(const Job& job) const {
    Job result = job;
    if (const auto found = progress_.find(job.id); found != progress_.end()) result.progress = found->second;
    result.paused = halted_.contains(job.id);
    return result;
}

std::string JobRunner::mount_point_of(const std::string& path) const {
    const auto* mount = mounts_.find(path);
    return mount != nullptr ? mount->mount_point : "";
}

}  // namespace vmad::daemon
