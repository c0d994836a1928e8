#!/usr/bin/perl
# Stands in for Proxmox VE's vzdump: what that does around its hook script, in its order, with its environment, its
# pipe and its lock. The archives are there already; here they are only "written".
#
#   vzdump_stand_in.pl [--script FILE] [--mode MODE] [--keep N] --storage ID --dumpdir DIR TYPE/VMID=ARCHIVE...
#
# TYPE is qemu or lxc. The script is --script (as a job's own), else the one in /etc/vzdump.conf. Prints the task
# log. Exits with 1 when a backup failed, and dies as vzdump does when the script is missing.
use strict;
use warnings;
use Fcntl qw(:flock);
use File::Basename;
use File::Copy;
use Getopt::Long;
use POSIX qw(strftime);

$| = 1;
# The task log takes bytes for Latin-1, so that only ASCII passes unchanged.
binmode(STDOUT, ':utf8');
my %opts = (mode => 'snapshot', keep => 0);
GetOptions(\%opts, 'script=s', 'mode=s', 'keep=i', 'storage=s', 'dumpdir=s') or exit 2;

# The last of several lines counts; white space around a line and lines that begin with # do not.
sub configured_script {
    open(my $file, '<', '/etc/vzdump.conf') or return undef;
    my $script;
    while (my $line = <$file>) {
        next if $line =~ /^\s*#/;
        $script = $1 if $line =~ /^\s*script:\s*(.*?)\s*$/;
    }
    return $script;
}

# Every line that the hook writes goes into the task log, and it has ended when nobody holds its output any more.
sub run_hook {
    my ($phase, $task) = @_;
    my $script = $opts{script} or return;
    my @command = ($script, $phase);
    push @command, $task->{mode}, $task->{vmid} if $task;
    pipe(my $reader, my $writer) or die "pipe: $!\n";
    my $pid = fork() // die "fork: $!\n";
    if (!$pid) {
        close $reader;
        open(STDIN, '<', '/dev/null');
        open(STDOUT, '>&', $writer);
        open(STDERR, '>&', $writer);
        %ENV = (LC_ALL => 'C', LVM_SUPPRESS_FD_WARNINGS => 1);
        $ENV{STOREID} = $opts{storage} if $opts{storage};
        $ENV{DUMPDIR} = $opts{dumpdir} if $opts{dumpdir};
        for my $name (qw(vmtype hostname target logfile)) {
            $ENV{uc $name} = $task->{$name} if $task && defined $task->{$name};
        }
        exec { $command[0] } @command or POSIX::_exit(127);
    }
    close $writer;
    while (my $line = <$reader>) {
        print "INFO: $line";
        print { $task->{log} } "INFO: $line" if $task && $task->{log};
    }
    waitpid($pid, 0);
    die "command '@command' failed: exit code " . ($? >> 8) . "\n" if $?;
}

sub write_archive {
    my ($task, $source) = @_;
    my $made = "$task->{stem}.dat";
    copy($source, $made) or die "copy $source: $!\n";
    rename($made, $task->{target}) or die "rename $made: $!\n";
    print "INFO: archive file size: " . (-s $task->{target}) . "\n";
    open(my $notes, '>', "$task->{target}.notes") or die "notes: $!\n";
    print $notes "guest $task->{vmid}";
    close $notes;
}

# By the time in the name, and with all that belongs to a backup.
sub prune {
    my ($task) = @_;
    return if !$opts{keep};
    my @backups = sort grep { m!/vzdump-$task->{vmtype}-$task->{vmid}-[^/]*\.(vma|tar)(\.(zst|gz|lzo))?$! }
        glob("$opts{dumpdir}/vzdump-*");
    while (@backups > $opts{keep}) {
        my $old = shift @backups;
        print "INFO: removing backup '$old'\n";
        (my $stem = $old) =~ s/\.(vma|tar)(\.\w+)?$//;
        unlink $old, "$old.notes", "$stem.log";
    }
}

my $time = time;

sub backup {
    my ($type, $vmid, $source) = @_;
    $source =~ /((\.vma|\.tar)(\.(zst|gz|lzo))?)$/ or die "$source is no archive\n";
    my $extension = $1;
    my $stem = "$opts{dumpdir}/vzdump-$type-$vmid-" . strftime('%Y_%m_%d-%H_%M_%S', localtime $time++);
    mkdir '/var/log/vzdump';
    my %task = (
        vmid => $vmid, vmtype => $type, mode => $opts{mode}, hostname => "guest$vmid", stem => $stem,
        target => "$stem$extension", logfile => "/var/log/vzdump/$type-$vmid.log");
    open($task{log}, '>', $task{logfile}) or die "$task{logfile}: $!\n";
    print "INFO: Starting Backup of VM $vmid ($type)\n";
    my $good = eval {
        run_hook($_, \%task) for qw(backup-start pre-stop pre-restart post-restart);
        write_archive(\%task, $source);
        prune(\%task);
        run_hook('backup-end', \%task);
        1;
    };
    my $error = $@;
    if ($good) {
        print "INFO: Finished Backup of VM $vmid\n";
    } else {
        print "ERROR: Backup of VM $vmid failed - $error";
        eval { run_hook('backup-abort', \%task); };
    }
    close delete $task{log};
    copy($task{logfile}, "$stem.log");
    eval { run_hook('log-end', \%task); };
    print "INFO: $@" if $@;
    return $good;
}

$opts{script} //= configured_script();
die "Hook script '$opts{script}' does not exist.\n" if $opts{script} && !-x $opts{script};
run_hook('job-init');
open(my $lock, '>>', '/run/vzdump.lock') or die "lock: $!\n";
flock($lock, LOCK_EX) or die "can't acquire lock: $!\n";
run_hook('job-start');
my $failed = 0;
for (@ARGV) {
    m!^(qemu|lxc)/(\d+)=(.+)$! or die "what is $_?\n";
    $failed++ if !backup($1, $2, $3);
}
if ($failed) {
    eval { run_hook('job-abort'); };
    print "ERROR: Backup job failed\n";
    exit 1;
}
run_hook('job-end');
print "INFO: Backup job finished successfully\n";
