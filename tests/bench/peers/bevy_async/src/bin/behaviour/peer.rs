//! What the plugins have in common, as the cases see it: a task that may be aborted, and access to one
//! component from inside it, each by the plugin's own way for that.
use std::future::Future;
use std::sync::Arc;

use bevy_app::App;
use bevy_async_ecs::{AsyncEcsPlugin, AsyncIOSystem, AsyncWorld};
use bevy_defer::{AsyncExecutor, AsyncPlugin, AsyncWorld as Deferred};
use bevy_ecs::prelude::*;
use bevy_ecs::world::WorldId;
use bevy_malek_async::CreateEcsTask;
use bevy_mod_async::prelude::{AsyncEntityTaskExt, AsyncTasksPlugin};
use bevy_tokio_tasks::{TaskContext, TokioTasksPlugin, TokioTasksRuntime};
use tokio::runtime::Runtime;

#[derive(Component, Clone, Copy, Default)]
pub struct Sample(pub f64);

/// What a task waits for that never comes: nobody inserts it.
#[derive(Component, Clone, Copy)]
pub struct Ready;

/// A task's result, or what it was told.
pub type Told = Result<(), String>;
pub type Abort = Box<dyn FnOnce()>;

pub trait Access: Clone + Send + 'static {
    /// Sets the component of an entity that may be gone.
    fn write(&self, entity: Entity, value: f64) -> impl Future<Output = Told> + Send;
    fn read(&self, entity: Entity) -> impl Future<Output = Option<f64>> + Send;
    /// Waits until the entity has `Ready`; `None` where the plugin waits for nothing of the kind.
    fn ready(&self, entity: Entity) -> impl Future<Output = Option<Told>> + Send {
        let _ = entity;
        async { None }
    }
}

pub trait Peer: Sized {
    type Access: Access;
    fn build(app: &mut App) -> Self;
    fn access(&self, app: &mut App) -> Self::Access;
    /// Starts a task and keeps what aborts it.
    fn start(&self, app: &mut App, task: impl Future<Output = Told> + Send + 'static) -> Abort;
    /// Starts a task as the plugin's examples do, and keeps nothing.
    fn leave(&self, app: &mut App, task: impl Future<Output = Told> + Send + 'static) {
        let _ = self.start(app, task);
    }
}

/// A runtime of tokio for the futures of those that bring none, the same as bevy-tokio-tasks has.
fn runtime() -> Runtime {
    Runtime::new().expect("threads can be started")
}

fn start_on(runtime: &Runtime, task: impl Future<Output = Told> + Send + 'static) -> Abort {
    let handle = runtime.spawn(task);
    Box::new(move || handle.abort())
}

// ---- bevy-tokio-tasks -----------------------------------------------------------------------------

pub struct TokioTasks;

impl Access for TaskContext {
    async fn write(&self, entity: Entity, value: f64) -> Told {
        let store = move |world: &mut World| world.entity_mut(entity).insert(Sample(value)).id();
        self.clone().run_on_main_thread(move |main| store(main.world)).await;
        Ok(())
    }

    async fn read(&self, entity: Entity) -> Option<f64> {
        let load = move |world: &mut World| world.get::<Sample>(entity).map(|s| s.0);
        self.clone().run_on_main_thread(move |main| load(main.world)).await
    }
}

impl Peer for TokioTasks {
    type Access = TaskContext;

    fn build(app: &mut App) -> Self {
        app.add_plugins(TokioTasksPlugin::default());
        TokioTasks
    }

    fn access(&self, app: &mut App) -> TaskContext {
        let (tell, told) = std::sync::mpsc::channel();
        app.world().resource::<TokioTasksRuntime>().spawn_background_task(
            move |context| async move {
                let _ = tell.send(context);
            },
        );
        told.recv().expect("the task sends its context")
    }

    fn start(&self, app: &mut App, task: impl Future<Output = Told> + Send + 'static) -> Abort {
        let handle = app.world().resource::<TokioTasksRuntime>().spawn_background_task(|_| task);
        Box::new(move || handle.abort())
    }
}

// ---- bevy-async-ecs -------------------------------------------------------------------------------

pub struct AsyncEcs(Runtime);

#[derive(Clone)]
pub struct AsyncEcsAccess {
    world: AsyncWorld,
    read: Arc<tokio::sync::OnceCell<AsyncIOSystem<Entity, Option<f64>>>>,
}

fn load(entity: In<Entity>, samples: Query<&Sample>) -> Option<f64> {
    samples.get(*entity).ok().map(|s| s.0)
}

impl Access for AsyncEcsAccess {
    async fn write(&self, entity: Entity, value: f64) -> Told {
        // `insert` returns when the command is queued; the wait is for its effect
        let entity = self.world.entity(entity);
        entity.insert(Sample(value)).await;
        let _ = entity.wait_for::<Sample>().await;
        Ok(())
    }

    async fn read(&self, entity: Entity) -> Option<f64> {
        let system = self.read.get_or_init(|| self.world.register_io_system(load)).await;
        system.run(entity).await
    }

    async fn ready(&self, entity: Entity) -> Option<Told> {
        let _ = self.world.entity(entity).wait_for::<Ready>().await;
        Some(Ok(()))
    }
}

impl Peer for AsyncEcs {
    type Access = AsyncEcsAccess;

    fn build(app: &mut App) -> Self {
        app.add_plugins(AsyncEcsPlugin);
        AsyncEcs(runtime())
    }

    fn access(&self, app: &mut App) -> AsyncEcsAccess {
        AsyncEcsAccess { world: AsyncWorld::from_world(app.world_mut()), read: Arc::default() }
    }

    fn start(&self, _: &mut App, task: impl Future<Output = Told> + Send + 'static) -> Abort {
        start_on(&self.0, task)
    }
}

// ---- bevy_mod_async -------------------------------------------------------------------------------

/// Its own `spawn_task` runs on Bevy's pool, which has no sockets, and cannot abort; its context works anywhere.
pub struct ModAsync(Runtime);

#[derive(Clone)]
pub struct ModAsyncAccess(bevy_mod_async::TaskContext);

impl Access for ModAsyncAccess {
    async fn write(&self, entity: Entity, value: f64) -> Told {
        self.0.entity(entity).insert(Sample(value)).await;
        Ok(())
    }

    async fn read(&self, entity: Entity) -> Option<f64> {
        self.0.with_world(move |world| world.get::<Sample>(entity).map(|s| s.0)).await
    }
}

impl Peer for ModAsync {
    type Access = ModAsyncAccess;

    fn build(app: &mut App) -> Self {
        app.add_plugins(AsyncTasksPlugin);
        ModAsync(runtime())
    }

    fn access(&self, app: &mut App) -> ModAsyncAccess {
        ModAsyncAccess(app.world().resource::<bevy_mod_async::AsyncWork>().create_task_context())
    }

    fn start(&self, _: &mut App, task: impl Future<Output = Told> + Send + 'static) -> Abort {
        start_on(&self.0, task)
    }
}

// ---- bevy_malek_async, the published ancestor of Bevy's own bridge ----------------------------------

pub struct Malek(Runtime);

#[derive(Clone)]
pub struct MalekAccess(WorldId);

impl Access for MalekAccess {
    async fn write(&self, entity: Entity, value: f64) -> Told {
        let store = move |mut samples: Query<&mut Sample>| {
            samples.get_mut(entity).map(|mut s| s.0 = value).map_err(|e| format!("{e:?}"))
        };
        self.0.ecs_task::<Query<&mut Sample>>().run_system(bevy_app::Update, store).await
    }

    async fn read(&self, entity: Entity) -> Option<f64> {
        let load = move |samples: Query<&Sample>| samples.get(entity).ok().map(|s| s.0);
        self.0.ecs_task::<Query<&Sample>>().run_system(bevy_app::Update, load).await
    }
}

impl Peer for Malek {
    type Access = MalekAccess;

    fn build(app: &mut App) -> Self {
        app.add_plugins(bevy_malek_async::AsyncEcsPlugin);
        Malek(runtime())
    }

    fn access(&self, app: &mut App) -> MalekAccess {
        MalekAccess(app.world().id())
    }

    fn start(&self, _: &mut App, task: impl Future<Output = Told> + Send + 'static) -> Abort {
        start_on(&self.0, task)
    }
}

// ---- bevy_defer -----------------------------------------------------------------------------------

/// Its executor is local to the main thread. Sockets need a reactor: tokio's, entered for the whole program.
pub struct Defer;

#[derive(Clone)]
pub struct DeferAccess;

impl Access for DeferAccess {
    async fn write(&self, entity: Entity, value: f64) -> Told {
        let component = Deferred.entity(entity).component::<Sample>();
        component.get_mut(|s| s.0 = value).map_err(|e| e.to_string())
    }

    async fn read(&self, entity: Entity) -> Option<f64> {
        Deferred.entity(entity).component::<Sample>().get(|s| s.0).ok()
    }

    async fn ready(&self, entity: Entity) -> Option<Told> {
        // its own waits stay on this thread; a task that may not is told through a channel
        let (tell, told) = tokio::sync::oneshot::channel();
        Deferred.spawn_any(async move {
            let loaded = Deferred.entity(entity).component::<Ready>().get_on_load(|_| ()).await;
            let _ = tell.send(loaded.map_err(|e| e.to_string()));
        });
        Some(told.await.unwrap_or_else(|e| Err(e.to_string())))
    }
}

impl Peer for Defer {
    type Access = DeferAccess;

    fn build(app: &mut App) -> Self {
        let frames = bevy_diagnostic::FrameCountPlugin;
        app.add_plugins((bevy_time::TimePlugin, frames, AsyncPlugin::default_settings()));
        let runtime: &'static Runtime = Box::leak(Box::new(runtime()));
        std::mem::forget(runtime.enter());
        Defer
    }

    fn access(&self, _: &mut App) -> DeferAccess {
        DeferAccess
    }

    fn start(&self, app: &mut App, task: impl Future<Output = Told> + Send + 'static) -> Abort {
        let task = app.world().non_send_resource::<AsyncExecutor>().spawn_task(task);
        Box::new(move || drop(task))
    }

    fn leave(&self, app: &mut App, task: impl Future<Output = Told> + Send + 'static) {
        app.world().non_send_resource::<AsyncExecutor>().spawn(task);
    }
}
